-- Old app versions call things differently. The event as sent stays as it is; features and segments read the new name at
-- enrichment.lua.rename.event (a feature's `where`), and the SKU that one of them hides in a list.
local names = {
  ["order_done"] = "Order Completed",
  ["Purchase"] = "Order Completed",
  ["add2cart"] = "Product Added",
}

function enrich(event)
  local name = names[event.event]
  if not name then return end
  local products = event.properties and event.properties.items
  return { event = name, sku = products and products[1] and products[1].id }
end
