/* Has this command a plan?
 *
 *     e2e_refused
 *
 * Each line of stdin is a command `attnc run …`, its words parted by tabs. It is read as
 * the program reads it, and its plan is asked for, as far as the key of the cache entry:
 * nothing is compiled, and nothing runs. Stdout has a line for each: why it is refused, or
 * nothing. */
#include "cli/cli.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 64, MOST_TARGETS = 32 };

/* Contexts by their targets, for all lines. */
typedef struct Contexts {
  char name[MOST_TARGETS][16];
  attnc_context *at[MOST_TARGETS];
  int n;
} Contexts;

static attnc_status
context_of(Contexts *all, const char *target, attnc_context **out, attnc_error *e)
{
  attnc_options o = {.size = sizeof o, .target = target, .cache = 1};
  int i = 0;
  while (i < all->n && strcmp(all->name[i], target) != 0)
    i++;
  if (i == MOST_TARGETS)
    return err_set(e, ATTNC_ERR_INTERNAL, "more than %d targets", MOST_TARGETS);
  if (i == all->n) {
    TRY(attnc_target_check(target, e));
    TRY(attnc_context_create(&o, &all->at[i], e));
    snprintf(all->name[i], sizeof all->name[i], "%s", target);
    all->n++;
  }
  *out = all->at[i];
  return ATTNC_OK;
}

static attnc_status
plan_of(Cli *c, Contexts *all, const LoadedSpec *s, attnc_error *e)
{
  const char *target = c->opt.value[OPT_ARCH];
  attnc_schedule want;
  attnc_sizes z;
  attnc_context *ctx = NULL;
  bool given;
  char *text;
  Asked asked;
  TRY(cli_sizes(c, s, &z, e));
  TRY(cli_schedule(c, &want, &given, e));
  TRY(context_of(all, target ? target : CLI_TARGET, &ctx, e));
  cli_problem(s, &z, &asked);
  cli_assume(c, &asked);
  TRY(attnc_key_explain(ctx, s->spec, &asked.problem, given ? &want : NULL, &text, e));
  attnc_text_free(text);
  return ATTNC_OK;
}

static attnc_status
ask(Cli *c, Contexts *all, int argc, char **argv, attnc_error *e)
{
  LoadedSpec s;
  TRY(options_parse(argc, argv, c->arena, &c->opt, e));
  if (c->opt.command != CMD_RUN)
    return err_set(e, ATTNC_ERR_USAGE, "%s is not run", argv[1]);
  attnc_status st = cli_load(c, c->opt.args[0], &s, NULL, e);
  if (st == ATTNC_OK)
    st = plan_of(c, all, &s, e);
  cli_unload(&s);
  return st;
}

static int
split(char *line, char **words)
{
  int n = 0;
  for (char *p = line; p && n < MOST_WORDS; n++) {
    words[n] = strsep(&p, "\t");
    if (p && n + 1 == MOST_WORDS)
      return -1;
  }
  words[n] = NULL;
  return n;
}

/* false: memory. */
static bool
one_line(char *line, Contexts *all)
{
  jmp_buf full;
  char *words[MOST_WORDS + 1];
  attnc_error e = {0};
  Cli c = {.arena = arena_new(0)};
  if (!c.arena || setjmp(full))
    return false;
  arena_catch(c.arena, &full);
  line[strcspn(line, "\n")] = 0;
  int n = split(line, words);
  if (n < 2)
    err_set(&e, ATTNC_ERR_USAGE, "no command");
  if (n < 2 || ask(&c, all, n, words, &e) != ATTNC_OK)
    for (const char *p = e.message; *p; p++)
      putchar(*p == '\n' ? ' ' : *p);
  putchar('\n');
  arena_free(c.arena);
  return true;
}

int
main(void)
{
  Contexts all = {.n = 0};
  char *line = NULL;
  size_t room = 0;
  bool ok = true;
  while (ok && getline(&line, &room, stdin) > 0)
    ok = one_line(line, &all) && !fflush(stdout);
  for (int i = 0; i < all.n; i++)
    attnc_context_release(all.at[i]);
  free(line);
  return ok && !ferror(stdin) ? 0 : 2;
}
