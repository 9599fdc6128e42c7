#include "cli/interrupt.h"

#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A handler can reach nothing but globals; these are of the one type it may write. */
static volatile sig_atomic_t soft, seen;

static void
tell(const char *text)
{
  ssize_t n = write(STDERR_FILENO, text, strlen(text));
  (void)n; /* there is nobody left to tell */
}

static void
on_interrupt(int signal)
{
  (void)signal; /* installed for one signal only */
  if (soft && !seen) {
    seen = 1;
    return;
  }
  tell("\nattnc: interrupted\n");
  _exit(EXIT_INTERRUPTED);
}

static void
on_alarm(int signal)
{
  (void)signal;
  tell("\nattnc: error: the time limit was reached\n");
  _exit(EXIT_TIMEOUT);
}

static void
handle(int signal, void (*handler)(int))
{
  struct sigaction a = {.sa_handler = handler};
  sigemptyset(&a.sa_mask);
  sigaction(signal, &a, NULL);
}

void
interrupt_install(void)
{
  handle(SIGINT, on_interrupt);
  handle(SIGALRM, on_alarm);
}

void
interrupt_soft(void)
{
  soft = 1;
}

bool
interrupt_seen(void)
{
  return seen;
}

void
interrupt_after(int64_t seconds)
{
  alarm((unsigned)seconds);
}
