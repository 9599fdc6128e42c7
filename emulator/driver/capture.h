/* capture.h: streams whose work becomes a graph instead of being done.
 *
 * A capture begins in one stream and spreads to others by events; what is illegal meanwhile
 * is refused with the driver's error and spoils the capture, which from then on refuses
 * everything but its end. */
#ifndef ATTNC_EMULATOR_CAPTURE_H
#define ATTNC_EMULATOR_CAPTURE_H

#include "emulator/driver/work.h"

typedef struct Capture {
  uint64_t id;
  CUstreamCaptureMode mode;
  pthread_t thread; /* in which it began */
  CUstream origin;
  CUgraph graph;
  bool lent; /* the graph is the caller's */
  bool spoilt;
  struct Capture *next;
} Capture;

bool tips_copy(Tips *, const Tips *); /* false: out of memory, and the copy is empty */
void tips_free(Tips *);
/* The node comes next; or as well. */
bool tips_set(Tips *, CUgraphNode);
bool tips_add(Tips *, CUgraphNode, CUgraphEdgeData);

/* The stream is captured: work becomes a node behind its tips. */
CUresult capture_do(Device *, CUstream, const Work *);
/* The operation is illegal in the stream that is captured; the error. */
CUresult capture_refuse(Capture *, CUresult);
/* An event is recorded in a stream that is captured, or waited for where one of the two is;
 * asked for: is it over? */
CUresult capture_record(Device *, CUevent, CUstream, bool external);
CUresult capture_wait(Device *, CUstream, CUevent, bool external);
CUresult capture_query(Device *, CUevent);
/* The host waits for all of the device. */
CUresult capture_settle(Device *);
void capture_end(Device *, uint64_t id); /* its graph is about to go */
void capture_free_all(Device *, CUcontext owner);

#endif
