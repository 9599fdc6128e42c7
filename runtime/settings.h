/* settings.h: where the options, the environment and the defaults meet.
 *
 * Precedence: option, then environment, then default.  A value that cannot be understood
 * is ATTNC_ERR_USAGE and names the variable; nothing is guessed. */
#ifndef ATTNC_RUNTIME_SETTINGS_H
#define ATTNC_RUNTIME_SETTINGS_H

#include "runtime/context.h"

/* Fills the constant part of a context and what its cache is to be opened with. */
attnc_status settings_read(attnc_context *, const attnc_options *, CacheConfig *,
                           attnc_error *);

/* "2G", "512M", "1000000": bytes.  False: not a size. */
bool settings_size(const char *text, uint64_t *bytes);

#endif
