/* err.h: filling the caller's attnc_error.  NULL is allowed everywhere; nothing allocates.
 */
#ifndef ATTNC_BASE_ERR_H
#define ATTNC_BASE_ERR_H

#include <attnc/attnc_rt.h>

/* Sets *e and returns the status, so that `return err_set(e, ATTNC_ERR_IO, "…")` reads. */
attnc_status err_set(attnc_error *e, attnc_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
attnc_status err_driver(attnc_error *e, attnc_status, int driver_code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void err_clear(attnc_error *);
int err_exit_code(attnc_status); /* of the command line */

/* Return on failure when nothing is held. */
#define TRY(call)                                                                          \
  do {                                                                                     \
    attnc_status try_status_ = (call);                                                     \
    if (try_status_ != ATTNC_OK)                                                           \
      return try_status_;                                                                  \
  } while (0)

#endif
