-- A plugin as the Lua gateways have them: a module with a function per phase.
local function plugin(name)
    return { rewrite = function() ngx.req.set_header(name, ngx.var.http_x_user) end }
end
return { plugin("x-seen-1"), plugin("x-seen-2"), plugin("x-seen-3") }
