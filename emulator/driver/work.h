/* work.h: what a stream or a node of a graph does: a kernel, a copy, a memset, a function
 * of the host, a graph, or nothing. */
#ifndef ATTNC_EMULATOR_WORK_H
#define ATTNC_EMULATOR_WORK_H

#include "emulator/driver/device.h"

enum { PARAM_BYTES = 32764, PARAM_ALIGN = 64 };

typedef struct KernelWork {
  CUfunction function;
  uint64_t module; /* number of its text: a function's address may come again */
  uint32_t grid[3], block[3], cluster[3], dynamic;
  bool programmatic, cooperative;
  int priority;
  CUevent started; /* recorded when all its CTAs have begun; NULL: none */
  uint8_t *params; /* as the kernel has them, at a multiple of PARAM_ALIGN */
  uint32_t param_bytes;
} KernelWork;

typedef struct Work {
  CUgraphNodeType type;
  union {
    KernelWork kernel;
    CUDA_MEMCPY3D copy;
    CUDA_MEMSET_NODE_PARAMS set;
    CUDA_HOST_NODE_PARAMS host;
    CUgraph child;
    CUevent event;
  };
} Work;

/* All that it points to, besides an event, is copied; false: out of memory. */
bool work_copy(Device *, Work *to, const Work *from);
void work_free(Device *, Work *);
/* May it be done?  (It is looked at again when it is.) */
CUresult work_check(Device *, const Work *);
/* Does it, and says what those behind it learn. */
CUresult work_run(Device *, const Work *, const Past *ahead, Past *done);

/* ---- kernel.c ---- */
/* A launch's arguments as work; its parameters go to `params`, PARAM_BYTES of them. */
CUresult kernel_work(Device *, CUfunction, const CUlaunchConfig *, void **params,
                     void **extra, uint8_t *to, Work *);
/* The same without parameters, which may not fit any device. */
CUresult kernel_shape(Device *, CUfunction, const CUlaunchConfig *, KernelWork *);
CUresult kernel_attribute(CUlaunchAttributeID, const CUlaunchAttributeValue *,
                          KernelWork *);
CUresult kernel_check(Device *, const KernelWork *);
CUresult kernel_run(Device *, const KernelWork *, const Past *ahead, Past *done);
/* ---- transfer.c ---- */
CUresult transfer_check(Device *, const Work *);
CUresult transfer_run(Device *, const Work *, const Past *ahead, Past *done);
struct Turn;
CUresult transfer_do(Device *, const Work *, const struct Turn *);
/* ---- function.c ---- */
int function_threads(const Kernel *); /* that a CTA may have by its directives */
/* ---- occupancy.c ---- */
/* CTAs of that many threads that fit on a multiprocessor. */
int occupancy(const Device *, const Kernel *, int threads, uint64_t dynamic);

/* ---- work.c ---- */
/* A number for work of that Past: who may still be running, in `late`; NULL: nobody. */
typedef struct Turn {
  uint64_t number;
  ShadowSet late[2], ahead;
  bool any;
} Turn;
void turn_take(Device *, const Past *ahead, const char *who, const Kernel *, Turn *);
/* Bytes of device memory are touched by a copy, a memset or the host (number 0). */
void turn_touch(Device *, const Turn *, uint64_t address, uint64_t n, bool writes);
/* ---- report.c ---- */
/* A line that is found outside of a launch, as the settings have it: findings.h. */
void report_line(const char *text);
/* Counters of the device, where they are to be zero: at a moment at which the host has
 * waited.  */
void report_counters(Device *);
ShadowDescribe report_describe;                                /* Launch.tell */
const char *report_variable(const Launch *, uint64_t address); /* Launch.variable */
/* ---- work.c ---- */
/* Who that number is. */
void turn_tell(const Device *, uint64_t number, int insn, ShadowOther *);

#endif
