/* flight.h: single flight: a table of values by key, each made once however many ask.
 *
 * flight_begin answers with the value, or makes the caller the one who makes it: whoever
 * gets FLIGHT_OWN must call flight_end, with the value or with the error; those who asked
 * meanwhile wait and get the same.  A failure is forgotten once they have it, so that the
 * next who asks tries anew.
 *
 * The lock is held for the table alone, never while a value is made or dropped.  Beyond
 * `max` values the least recently asked for is dropped, unless it is kept; a value handed
 * out is a reference of the caller's and stays. */
#ifndef ATTNC_RUNTIME_FLIGHT_H
#define ATTNC_RUNTIME_FLIGHT_H

#include "base/fork.h"

#include <attnc/attnc_rt.h>

#include <stdbool.h>

typedef struct FlightKey {
  unsigned char bytes[32];
} FlightKey;

typedef enum FlightTurn { FLIGHT_HIT, FLIGHT_OWN, FLIGHT_BUSY, FLIGHT_FAILED } FlightTurn;

typedef struct Flights Flights;

Flights *flights_new(size_t max, void (*retain)(void *), void (*release)(void *));
void flights_free(Flights *); /* nobody is in flight; releases the values */

/* Waits for who is in flight.  HIT: *value is a reference of the caller's; FAILED: the
 * error is filled. */
FlightTurn flight_begin(Flights *, const FlightKey *, void **value, attnc_error *);
/* Never waits and never owns: HIT or BUSY. */
FlightTurn flight_peek(Flights *, const FlightKey *, void **value);
/* value NULL: failed, for the reason in the error.  Takes its own reference. */
void flight_end(Flights *, const FlightKey *, void *value, const attnc_error *);
/* Is never dropped from now on.  False: the value is not in the table (any more). */
bool flight_keep(Flights *, const void *value);
size_t flights_count(Flights *); /* values held */
/* In a child nobody is in flight. */
void flights_fork(Flights *, ForkStep);

#endif
