-- What the plugins of shapes.py do, as a Lua gateway would have it: a module with a function per phase.
local M = {}

function M.response_header()
    ngx.header["x-seen-1"] = "0123456789abcdef"
end

function M.body()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if body then
        local first, last = body:find('"role":"user"', 1, true)
        if first then
            body = body:sub(1, first - 1) .. '"role":"root"' .. body:sub(last + 1)
        end
        ngx.req.set_body_data(body)
    end
end

-- The response's body comes in parts: they are kept until the last one is there. It stays as long as it was.
function M.response_body()
    local parts = ngx.ctx.parts or {}
    ngx.ctx.parts = parts
    parts[#parts + 1] = ngx.arg[1]
    if not ngx.arg[2] then
        ngx.arg[1] = nil
        return
    end
    ngx.arg[1] = "root" .. table.concat(parts):sub(5)
end

-- The three built-in plugins: a line for each request and response, API keys, a rate per client.
local keys = { ["0123456789abcdef"] = "bench" }
local limit, window = 60000000, 60

function M.access()
    ngx.ctx.began = ngx.now()
    ngx.log(ngx.NOTICE, "request method=", ngx.var.request_method, " path=", ngx.var.uri,
            " client=", ngx.var.remote_addr, " id=", ngx.var.request_id)
    local identity = keys[ngx.var.http_x_api_key or ""]
    if not identity then
        return ngx.exit(401)
    end
    ngx.req.clear_header("x-api-key")
    ngx.req.set_header("x-authenticated-identity", identity)
    local count = ngx.shared.limits:incr(ngx.var.remote_addr, 1, 0, window)
    if count > limit then
        return ngx.exit(429)
    end
    ngx.ctx.left = limit - count
end

function M.header()
    if ngx.ctx.left then
        ngx.header["ratelimit-limit"] = limit
        ngx.header["ratelimit-remaining"] = ngx.ctx.left
        ngx.header["ratelimit-reset"] = window
    end
end

function M.log()
    ngx.log(ngx.NOTICE, "response method=", ngx.var.request_method, " path=", ngx.var.uri, " status=", ngx.status,
            " duration_ms=", (ngx.now() - ngx.ctx.began) * 1000, " id=", ngx.var.request_id)
end

return M
