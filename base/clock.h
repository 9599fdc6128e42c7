/* clock.h: the monotonic clock. */
#ifndef ATTNC_BASE_CLOCK_H
#define ATTNC_BASE_CLOCK_H

double clock_seconds(void); /* since some moment, never backwards */

#endif
