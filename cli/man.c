/* man.c: the table of options.h as a manual page, in the macros of man(7). */
#include "cli/cli.h"

#include "base/env.h"

#include <stdio.h>
#include <string.h>

/* Text as roff reads it: a `-` of a program's text is \-, and no line begins with a
 * request. */
static void
put_text(Str *s, const char *text)
{
  for (const char *p = text; *p; p++) {
    if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
      str_put(s, "\\&");
    if (*p == '-')
      str_put(s, "\\-");
    else if (*p == '\\')
      str_put(s, "\\e");
    else
      str_putn(s, p, 1);
  }
}

/* A paragraph whose tag is bold. */
static void
put_tagged(Str *s, const char *tag, const char *text)
{
  str_put(s, ".TP\n\\fB");
  put_text(s, tag);
  str_put(s, "\\fR\n");
  put_text(s, text);
  str_put(s, "\n");
}

static void
put_options(Str *s, int command)
{
  for (int i = 0; i < OPT_COUNT; i++) {
    const Option *o = &option_table[i];
    bool everywhere = o->commands == CMD_ALL;
    if (!o->text || !option_applies((OptionId)i, command) || (command >= 0 && everywhere))
      continue;
    Str left = str_new(s->arena);
    option_left(o, &left);
    put_tagged(s, left.p + strspn(left.p, " "), o->text);
  }
}

static void
put_command(Str *s, int command)
{
  const Command *c = &command_table[command];
  str_put(s, ".SS attnc ");
  put_text(s, c->name);
  str_put(s, *c->usage ? " " : "");
  put_text(s, c->usage);
  str_put(s, "\n");
  put_text(s, c->text);
  str_put(s, "\n");
  put_options(s, command);
  str_put(s, ".PP\n.nf\n.RS\n");
  put_text(s, c->examples);
  str_put(s, "\n.RE\n.fi\n");
}

static void
put_ends(Str *s)
{
  char code[16];
  str_put(s, ".SH EXIT STATUS\n");
  for (int i = 0; i < N_EXIT_CODES; i++) {
    snprintf(code, sizeof code, "%d", exit_codes[i].code);
    put_tagged(s, code, exit_codes[i].text);
  }
  str_put(s, ".SH ENVIRONMENT\n");
  for (int i = 0; i < ENV_COUNT; i++) {
    const EnvInfo *v = &env_table[i];
    Str text = str_new(s->arena);
    str_printf(&text, *v->initial ? "%s (%s)" : "%s", v->text, v->initial);
    put_tagged(s, v->name, text.p);
  }
}

void
options_man(Str *s)
{
  int v = attnc_version();
  str_printf(s,
             ".TH ATTNC 1 \"\" \"attnc %d.%d.%d\"\n.SH NAME\n"
             "attnc \\- attention kernels from specs: check, compile, run, tune\n"
             ".SH SYNOPSIS\n\\fBattnc\\fR \\fICOMMAND\\fR [\\fIARGUMENTS\\fR] "
             "[\\fIOPTIONS\\fR]\n.SH COMMANDS\n",
             v / 10000, v / 100 % 100, v % 100);
  for (int i = 0; i < CMD_COUNT; i++)
    if (command_visible(i))
      put_command(s, i);
  str_put(s, ".SH OPTIONS OF EVERY COMMAND\n");
  put_options(s, -1);
  put_ends(s);
}
