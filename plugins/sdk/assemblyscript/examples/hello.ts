import * as blitz from "../blitz";
export { blitz_buffer, blitz_buffer_size } from "../blitz";

export function process_request(method: usize, methodSize: i32, path: usize, pathSize: i32): i32 {
  if (blitz.isUnder(blitz.canonicalPath(), "/private")) {
    blitz.setStatus(403);
    blitz.setBody("not for you\n");
    return blitz.STOP;
  }
  blitz.setHeader("x-hello", "from AssemblyScript");
  return blitz.CONTINUE;
}
