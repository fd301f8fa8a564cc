import type { Policy } from "./gen/types.js";

/** A policy whose zero fields are taken from what is above it: a directory, or the cluster's default. */
export function inheritPolicy(policy: Policy | null, above: Policy): Policy {
  return {
    replicas: policy?.replicas || above.replicas,
    blockSize: policy?.blockSize || above.blockSize,
    compression: policy?.compression || above.compression,
  };
}
