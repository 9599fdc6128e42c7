/* What each template says to a spec on a target: attnc_spec_templates. */
#include "compiler/gen.h"
#include "compiler/sched.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static const int codes[REASON_COUNT] = {
#define X(id, code, meaning) [REASON_##id] = code,
    REASON_TABLE(X)
#undef X
};

static void
put_template(Str *s, const Template *t, const Case *c, const Template *chosen)
{
  Why why = {.text = ""};
  bool takes = t->applicable(c, &why);
  str_printf(s, "{\"template\":\"%s\",\"takes\":%s,\"chosen\":%s,\"reasons\":[", t->name,
             takes ? "true" : "false", t == chosen ? "true" : "false");
  for (int i = 0; i < why.n; i++) {
    str_printf(s, "%s{\"code\":\"A%04d\",\"message\":", i ? "," : "",
               codes[why.at[i].reason]);
    str_json(s, why.at[i].why);
    str_put(s, "}");
  }
  str_put(s, "]}");
}

static char *
list(Arena *arena, const Case *c, const Template *chosen)
{
  Str s = str_new(arena);
  const char *comma = "";
  str_put(&s, "[");
  for (int i = 0; i < n_templates; i++) {
    if (!template_is_asked(template_table[i], c))
      continue;
    str_put(&s, comma);
    put_template(&s, template_table[i], c, chosen);
    comma = ",";
  }
  str_put(&s, "]");
  return strdup(s.p);
}

attnc_status
attnc_spec_templates(const attnc_spec *spec, const char *target, char **json,
                     attnc_error *err)
{
  jmp_buf full;
  Sched s = {.tmpl = NULL};
  const char *source;
  if (json)
    *json = NULL;
  if (!json || !spec)
    return err_set(err, ATTNC_ERR_USAGE, "attnc_spec_templates: %s is NULL",
                   json ? "the spec" : "json");
  TRY(attnc_target_check(target, err));
  const Target *t = target_find(target);
  Case c = sched_case(spec, NULL, t);
  if (gen_schedule(spec, NULL, t, NULL, &s, &source, NULL) != ATTNC_OK)
    s.tmpl = NULL;
  Arena *arena = arena_new(0);
  if (arena && setjmp(full) == 0) {
    arena_catch(arena, &full);
    *json = list(arena, &c, s.tmpl);
  }
  arena_free(arena);
  return *json ? ATTNC_OK : err_set(err, ATTNC_ERR_NOMEM, "what templates say to a spec");
}
