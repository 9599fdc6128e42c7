/* attnc_emu.h: functions of libattnc-emu.so that are not part of the CUDA driver API.
 *
 * The emulator is a drop-in libcuda that executes PTX text on the CPU and checks it.  A
 * program finds these functions with dlsym on the handle of the driver library; NVIDIA's
 * libcuda has none of them.  All are safe to call from any thread; text is copied into the
 * caller's buffer. */
#ifndef ATTNC_EMU_H
#define ATTNC_EMU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counters over all launches since the last reset. */
typedef struct attncEmuStats {
  size_t size;
  uint64_t launches, ctas;
  uint64_t warp_instructions, thread_instructions;
  uint64_t mma;  /* mma.sync executed, one per warp */
  uint64_t macs; /* multiply-adds of these mma.sync */
  uint64_t shared_accesses,
      bank_conflicts; /* conflicts: phases beyond the fewest possible */
  uint64_t global_sectors,
      global_sectors_ideal; /* 32-byte sectors touched; the fewest that hold the bytes */
  uint64_t barriers;
  uint64_t est_cycles; /* issue model: the slowest SM's cycles; never a time */
  uint64_t findings;
  double host_seconds; /* spent emulating */
} attncEmuStats;

/* "arch=sm_86,devices=2,threads=1,checks=all|lax|none,mma=bit|fast,sched=block|rr|random,
 * ctas=forward|reverse|random,orders=1,resident=1,seed=7,fuel=100000000,
 * async=lazy|eager|random,printf=keep|stdout,findings=keep|stderr,counters=any|zero":
 * arch and devices must be set before cuInit; the other settings take effect with the next
 * launch.  checks=lax: without what CUTLASS takes for granted beyond the ISA's text
 * (docs/emulator.md).  0, or -1 with a reason.  The environment variable ATTNC_EMU holds
 * the same text: where it is wrong, cuInit is CUDA_ERROR_INVALID_VALUE, and
 * cuGetErrorString of that says why until cuInit succeeds. */
int attncEmuConfigure(const char *settings, char *reason, size_t n);
void attncEmuGetStats(attncEmuStats *);
void attncEmuResetStats(void);
/* Findings since the last call, one line each, "ptx:LINE: error[race]: …"; returns bytes
 * needed, as snprintf does, and forgets them once they fit.  With the setting
 * findings=stderr each finding is also written to stderr when it is found. */
size_t attncEmuTakeFindings(char *buf, size_t n);
/* What kernels printed (printf in CUDA) since the last call, of up to 1 MB, as text;
 * returns bytes needed, as snprintf does, and forgets it once it fits. With the setting
 * printf=stdout it goes to stdout when a launch ends, and there is nothing to take. */
size_t attncEmuTakeOutput(char *buf, size_t n);
/* Per instruction: JSON array of {line, text, count, conflicts, sectors, ideal} of the last
 * launch; returns bytes needed, as snprintf does. */
size_t attncEmuProfile(char *buf, size_t n);

/* Sectors of 32 bytes that kernels have read, by loads and by copies of every kind, of the
 * allocation that has the address, since it was made: a warp instruction counts each sector
 * that it touches once.  0, or -1: nothing is there. */
int attncEmuSectorsRead(uint64_t address, uint64_t *sectors);

#ifdef __cplusplus
}
#endif
#endif
