-- Each action reads the request header x-user and sets another to its value.
for n = 1, 3 do
    local name = "x-seen-" .. n
    core.register_action("one_header_" .. n, { "http-req" }, function(txn)
        txn.http:req_set_header(name, txn.sf:req_hdr("x-user"))
    end)
end

-- The bad neighbour of isolation.py.
core.register_action("spin", { "http-req" }, function() while true do end end)
