/* process.h: a process of ours, spoken with over a socket that is its standard input and
 * output.
 *
 * It is spawned, not forked, so that a program of any size and any number of threads may
 * have one.  Nothing else of ours reaches it: our end of the socket is closed in it, and a
 * program that wants no descriptor of its parent's closes what is above 2.  It is in a
 * process group of its own, so that a terminal's Ctrl-C is the parent's to handle, with no
 * signal blocked or ignored, whatever the thread that starts it does with its own.  When
 * the parent ends, however it does, the socket does, and the process is to end at that.
 *
 * A process belongs to one thread at a time. */
#ifndef ATTNC_RUNTIME_PROCESS_H
#define ATTNC_RUNTIME_PROCESS_H

#include <attnc/attnc_rt.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct Process {
  pid_t pid; /* 0: none runs */
  int fd;    /* our end of the socket */
} Process;

/* Which of the places, relative to the folder of the library (of the program where it is
 * linked statically), can be executed; false: none of them. */
bool process_beside(const char *const *places, size_t n, char *path, size_t room);

/* argv[0] is looked for on PATH where it has no slash.  err: a descriptor that becomes its
 * standard error; -1: ours.  The error begins with `who`. */
attnc_status process_start(Process *, const char *const *argv, int err, const char *who,
                           attnc_error *);
/* Closes the socket and waits: for as long as `seconds`, then it is killed.  Its wait
 * status; -1: somebody else has waited for it, or SIGCHLD is ignored. */
int process_end(Process *, double seconds);
/* "died of signal 6 (SIGABRT)", "ended with 1". */
void process_how(int status, char *text, size_t n);

/* How speech with a process went on. */
typedef enum Talk { TALK_OK, TALK_TIMEOUT, TALK_ENDED, TALK_STOPPED } Talk;
/* Until the socket can be read or written (events of poll); what is left of the time is
 * `seconds`.  TIMEOUT: not yet. */
Talk process_wait(const Process *, short events, double seconds);
/* Its end of the socket is closed: it has ended, or is about to. */
bool process_hung_up(const Process *);
/* What can be sent or is there, without waiting: bytes; 0: nothing for now; -1: it has
 * ended.  Never raises SIGPIPE. */
ssize_t process_send(const Process *, const void *, size_t n);
ssize_t process_receive(const Process *, void *, size_t n);

#endif
