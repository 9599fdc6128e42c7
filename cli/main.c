/* main.c: the command `attnc`: options, help, signals, and the table of commands. */
#include "cli/cli.h"
#include "cli/interrupt.h"

#include "base/env.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static CommandRun *const runs[CMD_COUNT] = {
    [CMD_CHECK] = cmd_check,
    [CMD_COMPILE] = cmd_compile,
    [CMD_RUN] = cmd_run,
    [CMD_TUNE] = cmd_tune,
    [CMD_TUNE_LIST] = cmd_tune_list,
    [CMD_TUNE_EXPORT] = cmd_tune_export,
    [CMD_TUNE_IMPORT] = cmd_tune_import,
    [CMD_TUNE_MERGE] = cmd_tune_merge,
    [CMD_TUNE_FORGET] = cmd_tune_forget,
    [CMD_EXPLAIN] = cmd_explain,
    [CMD_TILES] = cmd_tiles,
    [CMD_KEY] = cmd_key,
    [CMD_DOCTOR] = cmd_doctor,
    [CMD_CACHE] = cmd_cache,
    [CMD_TARGETS] = cmd_targets,
    [CMD_SCHEMA] = cmd_schema,
    [CMD_BENCH] = cmd_bench,
    [CMD_COMPLETION] = cmd_completion,
    [CMD_PACK] = cmd_pack,
    [CMD_DEVICE] = cmd_device,
    [CMD_HELP] = cmd_help,
    [CMD_VERSION] = cmd_version,
    [CMD_TUNE_WORKER] = cmd_tune_worker,
};

/* NO_COLOR (no-color.org), a dumb terminal or a file: no colour, unless asked for. */
static attnc_status
decide_color(Cli *c, attnc_error *e)
{
  const char *when = c->opt.value[OPT_COLOR];
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  when = when ? when : "auto";
  c->color = isatty(STDERR_FILENO) && !(no && *no) && !(term && str_eq(term, "dumb"));
  if (str_eq(when, "always"))
    c->color = true;
  else if (str_eq(when, "never"))
    c->color = false;
  else if (!str_eq(when, "auto"))
    return err_set(e, ATTNC_ERR_USAGE, "--color: %.40s is not one of auto, always, never",
                   when);
  return ATTNC_OK;
}

static attnc_status
decide_log(Cli *c, attnc_error *e)
{
  static const char *const levels[] = {"info", "debug"};
  const char *log = env_get(ENV_LOG);
  c->log = 1;
  for (int i = 0; log && i < 2; i++)
    if (str_eq(log, levels[i]))
      c->log = i + 2;
  return log && c->log == 1 ? err_set(e, ATTNC_ERR_USAGE,
                                      "ATTNC_LOG: %.40s is not one of info, debug", log)
                            : ATTNC_OK;
}

static int
print_help(const Cli *c, int command)
{
  Str s = str_new(c->arena);
  command = command_visible(command) ? command : -1;
  if (c->json)
    options_help_json(command, &s);
  else
    options_help(command, &s);
  cli_print(s.p);
  return 0;
}

static int
print_man(Cli *c)
{
  attnc_error e;
  Str s = str_new(c->arena);
  if (c->opt.n_args || c->json) {
    err_set(&e, ATTNC_ERR_USAGE, "attnc help --man: it is of all commands, and text");
    return cli_error(c, &e);
  }
  options_man(&s);
  cli_print(s.p);
  return 0;
}

int
cmd_help(Cli *c)
{
  attnc_error e;
  if (options_has(&c->opt, OPT_MAN))
    return print_man(c);
  const char *const *words = c->opt.args;
  const char *name =
      c->opt.n_args == 2 ? arena_printf(c->arena, "%s %s", words[0], words[1]) : words[0];
  int command = c->opt.n_args ? command_named(name, &e) : -1;
  return c->opt.n_args && command < 0 ? cli_error(c, &e) : print_help(c, command);
}

int
cmd_version(Cli *c)
{
  int v = attnc_version();
  int major = v / 10000, minor = v / 100 % 100, patch = v % 100;
  if (c->json)
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.version/1", "version",
                       json_sprintf("%d.%d.%d", major, minor, patch)));
  else
    printf("attnc %d.%d.%d\n", major, minor, patch);
  return 0;
}

/* A command line that is wrong may still ask for --json: that is looked for by itself. */
static bool
asks_for(int argc, char **argv, const char *option)
{
  for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++)
    if (str_eq(argv[i], option))
      return true;
  return false;
}

static int
dispatch(Cli *c, int argc, char **argv)
{
  attnc_error e;
  attnc_status st = options_parse(argc, argv, c->arena, &c->opt, &e);
  c->json =
      options_has(&c->opt, OPT_JSON) || (st != ATTNC_OK && asks_for(argc, argv, "--json"));
  c->quiet = options_has(&c->opt, OPT_QUIET);
  if (st == ATTNC_OK)
    st = decide_color(c, &e);
  if (st == ATTNC_OK)
    st = decide_log(c, &e);
  if (st != ATTNC_OK)
    return cli_error(c, &e);
  if (options_has(&c->opt, OPT_HELP))
    return print_help(c, c->opt.command);
  if (options_has(&c->opt, OPT_VERSION))
    return cmd_version(c);
  return runs[c->opt.command](c);
}

int
main(int argc, char **argv)
{
  jmp_buf full;
  Cli c = {.arena = arena_new(0)};
  interrupt_install();
  if (!c.arena || setjmp(full)) {
    fputs("attnc: error: out of memory\n", stderr);
    return err_exit_code(ATTNC_ERR_NOMEM);
  }
  arena_catch(c.arena, &full);
  int code = dispatch(&c, argc, argv);
  if ((fflush(stdout) || ferror(stdout)) && !code) {
    fputs("attnc: error: stdout could not be written\n", stderr);
    code = err_exit_code(ATTNC_ERR_IO);
  }
  arena_free(c.arena);
  return code;
}
