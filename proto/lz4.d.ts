// What CairnFS uses of the `lz4` package, which has no types of its own: the block format, without any framing.
declare module "lz4" {
  const lz4: {
    /** Compresses input into output[start, end); returns the compressed length, 0 when it does not fit. */
    encodeBlock(input: Buffer, output: Buffer, start?: number, end?: number): number;
    /** Decompresses input[start, end) into output; returns the length of the result, negative when the input is malformed. */
    decodeBlock(input: Buffer, output: Buffer, start?: number, end?: number): number;
  };
  export default lz4;
}
