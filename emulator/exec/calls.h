/* calls.h: functions at run time.
 *
 * A frame is one call under way: who called (the frame above), from where, and what is
 * called. Lanes that make the same call from the same frame share it, whenever they make
 * it: where a lane is, its frame and its pc say together, and lanes meet where both agree,
 * as they would if the text of the function stood in place of the call. Of two groups the
 * one runs that is less far by that order.
 *
 * Lanes that came by different calls to an instruction which waits for its lanes execute it
 * together when nobody else can go on: an instruction of a function is the same one whoever
 * called. They part again at the next place where lanes may meet.
 *
 * Registers of a function exist once; a lane that calls a function which it is in already
 * has them kept in the new frame until it returns. Its .local and .param variables lie in
 * the thread's local memory, which grows with calls. */
#ifndef ATTNC_EMULATOR_CALLS_H
#define ATTNC_EMULATOR_CALLS_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/check/undefined.h"

typedef struct Calls { /* of a warp */
  Frame *top;          /* calls from the entry */
  Frame *free;         /* frames without lanes */
  Frame *of[LANES];
  uint32_t sp[LANES]; /* the end of what is used of local memory */
  uint8_t *data;      /* arguments or results on their way, of each lane */
  bool unknown;       /* some of them are undefined */
  Origin from;        /* those */
  uint32_t *inside;   /* [functions] lanes that are in it */
} Calls;

struct Frame {
  Frame *up;          /* NULL: called by the entry */
  Frame *next, *down; /* others of `up`; calls from this one */
  const CallSite *site;
  int back, function, depth;
  uint32_t lanes; /* here, or in calls from here */
  uint32_t again; /* of them, those whose registers are kept */
  uint32_t sp[LANES];
  uint32_t *kept;
};

Calls *calls_new(const Kernel *); /* of a warp; NULL: out of memory */
void calls_free(Calls *);
void calls_start(Warp *, const Kernel *);
void calls_exit(Warp *, uint32_t mask);
/* The frame of one of these lanes, and which of them are in it. */
Frame *calls_frame(const Warp *, uint32_t mask, uint32_t *own);
/* In different frames: a is less far. */
bool calls_before(const Group *a, const Group *b);
/* All groups wait: those that do at one instruction, in different frames, become the one
 * that runs; false: there are none. */
bool calls_meet(Warp *);
/* Is this the instruction for which they met?  Once. */
static inline bool
calls_met(Warp *w)
{
  bool met = w->meeting == w->pc;
  if (met)
    w->meeting = -1;
  return met;
}
/* Of a call that no function of the module serves: its arguments are copied out, then asked
 * for. */
void calls_arguments(Exec *, Warp *, const Insn *, uint32_t mask);
uint64_t calls_argument(const Warp *, const CallSite *, int number, int lane);
/* Gives each lane of the mask the result of 4 bytes. */
void calls_result(Exec *, Warp *, const CallSite *, const uint32_t *result, uint32_t mask);
/* How many bytes of a lane's local memory are in use. */
uint32_t calls_stack(const Warp *, int lane);

#endif
