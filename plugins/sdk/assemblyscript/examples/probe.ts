// Calls all there is; the tests drive it.
import * as blitz from "../blitz";
export { blitz_alloc, blitz_buffer, blitz_buffer_size, blitz_free } from "../blitz";

export function init(): i32 {
  blitz.log("debug", "probe starts");
  const why = blitz.configValue("refuse");
  if (why !== null) {
    blitz.log("error", why);
    return -1;
  }
  return 0;
}

export function process_request(method: usize, methodSize: i32, path: usize, pathSize: i32): i32 {
  blitz.setHeader("x-seen", blitz.text(method, methodSize) + " " + blitz.text(path, pathSize));
  const name = blitz.env("PROBE_NAME");
  if (name !== null) blitz.addHeader("x-name", name);
  const echo = blitz.header("x-echo");
  if (echo !== null) {
    blitz.setHeader("x-echo-length", echo.length.toString());
    blitz.removeHeader("x-echo");
  }
  const address = blitz.property("client.address");
  blitz.setHeader("x-client", address !== null ? address : "");
  const left = blitz.rateLimit("probe", 1, 2);
  if (left < 0) {
    blitz.setStatus(429);
    return blitz.STOP;
  }
  blitz.setHeader("x-left", left.toString());
  return blitz.CONTINUE;
}

export function process_response(status: i32, body: usize, size: i32): i32 {
  blitz.setHeader("x-status", status.toString());
  blitz.setHeader("x-body-chars", blitz.text(body, size).length.toString());
  return blitz.CONTINUE;
}

export function cleanup(): i32 {
  blitz.log("info", "probe ends");
  return 0;
}
