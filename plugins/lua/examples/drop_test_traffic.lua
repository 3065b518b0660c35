-- Refuses what our own people and monitors send. The client is told, and the event is kept among the rejects with the reason.
local url = path("context.page.url")

function enrich(event)
  local user = event.userId
  if user and user:match("^test%-") then return drop("test account") end
  local traits = event.traits
  if traits and traits.email and traits.email:match("@example%.com$") then return drop("test e-mail") end
  local page = event[url]
  if page and page:find("//staging.", 1, true) then return drop("staging site") end
end
