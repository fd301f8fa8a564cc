export { type ClientOptions, connectClient, parseNamenode } from "./client.js";
export type {
  AttributeChange,
  CairnClient,
  Capacity,
  DirectoryPage,
  FileContent,
  Metadata,
  Name,
  NewInode,
} from "./contract.js";
