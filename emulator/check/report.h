/* report.h: findings of an instruction, as lines of text. */
#ifndef ATTNC_EMULATOR_REPORT_H
#define ATTNC_EMULATOR_REPORT_H

#include "emulator/exec/machine.h"

/* A finding that ends the launch: "ptx:LINE: error[name]: …, warp 1, lane 3".  lane < 0:
 * the whole warp. */
Stop report_fatal(Exec *, const Warp *, const Insn *, CUresult, const char *name, int lane,
                  const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* One that does not. */
void report_error(Exec *, const Warp *, const Insn *, const char *name, int lane,
                  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
ShadowSink report_shadow; /* user: the Launch */

#endif
