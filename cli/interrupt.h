/* interrupt.h: Ctrl-C and time limits.
 *
 * By default SIGINT ends the program at once with 130, and a limit that is reached with
 * 124: files are written by rename, so nothing is left half done.  A command that wants to
 * tell what it has so far asks for `interrupt_soft` and looks at interrupt_seen. */
#ifndef ATTNC_CLI_INTERRUPT_H
#define ATTNC_CLI_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

void interrupt_install(void);
void interrupt_soft(void); /* a second SIGINT still ends the program */
bool interrupt_seen(void);
void interrupt_after(int64_t seconds); /* end with 124; 0: never */

#endif
