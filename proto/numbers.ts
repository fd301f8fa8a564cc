import protobuf from "protobufjs/minimal.js";

// 64-bit fields are plain numbers here: ids, sizes and times stay below 2^53, which is checked where they are used. With
// the `long` package installed (a dependency of others), protobufjs would make objects of them. Imported before the
// generated code, which reads these when it is loaded.
(protobuf.util as { Long: unknown }).Long = null;
protobuf.configure();
