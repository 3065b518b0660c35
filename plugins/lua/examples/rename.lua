-- Old app versions call things differently. From here on the event has its new name: enrichers behind this script, features, segments, destinations and
-- whoever reads it later see that; enrichment.renamed_from keeps the name as sent. The SKU that one of them hides in a list is added.
local names = {
  ["order_done"] = "Order Completed",
  ["Purchase"] = "Order Completed",
  ["add2cart"] = "Product Added",
}

function enrich(event)
  local name = names[event.event]
  if not name then return end
  event.event = name
  local products = event.properties and event.properties.items
  return { sku = products and products[1] and products[1].id }
end
