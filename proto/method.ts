import type { Writer } from "protobufjs";

/** Encodes and decodes one message type. */
export interface Codec<In, Out> {
  /** What comes of it must be taken (`finish`, `finishInto`) before any other message is encoded: all are written in the same memory. */
  encode(message: In): Pick<Writer, "len" | "finish" | "finishInto">;
  /** All fields are there, those that were not sent with their defaults; bytes share the memory of what is decoded. */
  decode(bytes: Uint8Array): Out;
}

/**
 * A method of a service in proto/*.proto (the tables in gen/services.ts).
 * Q and R are what one hands in (fields optional), QD and RD what one gets (defaults filled in).
 */
export interface Method<Q, QD, R, RD> {
  /** "Service.Method" */
  readonly name: string;
  readonly request: Codec<Q, QD>;
  readonly reply: Codec<R, RD>;
}

// biome-ignore lint/suspicious/noExplicitAny: stands for any method where the types of one are inferred from it
export type AnyMethod = Method<any, any, any, any>;
/** The table of a service. */
export type ServiceTable = Record<string, AnyMethod>;

/** What one hands to a call of M. */
export type RequestOf<M> = M extends Method<infer Q, infer _QD, infer _R, infer _RD> ? Q : never;
/** What the callee of M receives. */
export type ReceivedOf<M> = M extends Method<infer _Q, infer QD, infer _R, infer _RD> ? QD : never;
/** What the callee of M returns. */
export type AnswerOf<M> = M extends Method<infer _Q, infer _QD, infer R, infer _RD> ? R : never;
/** What a call of M resolves to. */
export type ReplyOf<M> = M extends Method<infer _Q, infer _QD, infer _R, infer RD> ? RD : never;
