/* run.h: one case from YAML to a judged result, through the public API and the driver.
 *
 * A Session is a device and a context for one target; a process has at most one, because
 * the emulator takes its architecture once.  run_case leaves nothing behind, whatever it
 * finds. */
#ifndef ATTNC_TESTS_RUN_H
#define ATTNC_TESTS_RUN_H

#include "tests/e2e/case.h"
#include "tests/e2e/device.h"

typedef struct Session {
  Device device;
  attnc_context *context;
  char target[16];
  attnc_compile_options entered;
} Session;

typedef enum Outcome { RUN_PASS, RUN_FAIL, RUN_SKIP, RUN_BROKEN } Outcome;

/* lib as for device_open.  false, and why. */
bool session_open(Session *, const char *lib, const char *target, char *why, size_t n);
void session_close(Session *);
/* From here on the kernels of the session are this PTX text, whatever the case says. */
bool session_inject(Session *, const char *ptx, char *why, size_t n);
/* The PTX of a case, malloc'd; NULL, and why. */
char *case_ptx(const Case *, char *why, size_t n);
/* RUN_SKIP: this device cannot run the target; RUN_BROKEN: it failed and the device is of
 * no use any more. */
Outcome run_case(Session *, const Case *, char *why, size_t n);

#endif
