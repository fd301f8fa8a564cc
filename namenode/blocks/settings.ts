/** The settings of the namenode that blocks/ needs. Times in milliseconds. */
export interface BlockSettings {
  /** How often a datanode reports that it is alive. */
  heartbeatMs: number;
  /** Without contact for this long a datanode is dead: its replicas no longer count and are made again elsewhere. */
  deadAfterMs: number;
  /** How often a datanode sends the digests of all its replicas. */
  fullReportMs: number;
  /** How long a replica that no file and no writer refers to is kept after this namenode first saw it. */
  orphanGraceMs: number;
  /** How long such a replica is kept after the store was restored from a backup, which may lack its file. */
  restoreGraceMs: number;
  /** Blocks being re-replicated at a time, in the whole cluster. */
  maxTransfers: number;
  /** Blocks one datanode sends or receives for re-replication at a time. */
  maxTransfersPerDatanode: number;
  /** A re-replication that has not arrived after this long is tried again. */
  transferTimeoutMs: number;
}
