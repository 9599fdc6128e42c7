#include "tests/unit/rt.h"

#include "runtime/recipe.h"

static Recipe *
parse(const char *text)
{
  attnc_error e = {0};
  Recipe *r = NULL;
  if (recipe_parse(text, strlen(text), &r, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return r;
}

static void
test_fields(void **state)
{
  (void)state;
  Recipe *r = parse(RT_RECIPE);
  assert_string_equal(r->name, "by_hand");
  assert_int_equal(r->cc, 80);
  assert_false(r->exact);
  assert_int_equal(r->min_driver, 11000);
  assert_int_equal(r->n_slots, 5);
  assert_string_equal(r->tensors[ATTNC_LSE].name, "lse");
  assert_int_equal(r->tensors[ATTNC_LSE].dtype, DT_F32);
  assert_true(r->tensors[ATTNC_LSE].contiguous);
  assert_int_equal(r->tensors[ATTNC_LSE].n_axes, 3);
  assert_int_equal(r->tensors[ATTNC_O].access, ACCESS_OUT);
  assert_int_equal(r->tensors[ATTNC_Q].access, ACCESS_IN);
  assert_int_equal(r->tensors[ATTNC_K].axes[2].size, SIZE_SK);
  assert_int_equal(r->tensors[ATTNC_K].axes[3].n, 64);
  assert_true(r->scalars[0].initial == 0.125f);
  assert_int_equal(r->align, 16);
  assert_int_equal(r->n_regions, 0);
  assert_int_equal(r->n_steps, 1);
  assert_int_equal(r->n_params, 10);
  const Launch *l = &r->steps[0].launch;
  assert_int_equal(l->params[5].kind, PARAM_STRIDE);
  assert_int_equal(l->params[5].dim, 2);
  assert_int_equal(l->params[8].size, SIZE_SK);
  assert_int_equal(l->shared, 65536);
  recipe_free(r);
}

/* What schema 2 says of kernels without a workspace, as all of its compilers' are, holds; a
 * workspace was offsets then. */
static void
test_schemas(void **state)
{
  static const struct {
    const char *schema, *workspace;
    attnc_status s;
  } rows[] = {
      {"2", "0", ATTNC_OK},
      {"2", "[{\"product\":[64]}]", ATTNC_ERR_UNSUPPORTED},
      {"2", "[{\"name\":\"w\",\"bytes\":64}]", ATTNC_ERR_UNSUPPORTED},
      {"3", "0", ATTNC_OK},
      {"3", "[{\"name\":\"w\",\"bytes\":64}]", ATTNC_OK},
      {"4", "0", ATTNC_ERR_UNSUPPORTED},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[4096];
    attnc_error e = {0};
    Recipe *r = NULL;
    snprintf(text, sizeof text,
             RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "%s",
                          RT_STEPS(RT_PARAMS, RT_GRID)),
             rows[i].workspace);
    char *number = strstr(text, "attnc.kernel/") + strlen("attnc.kernel/");
    *number = rows[i].schema[0];
    assert_int_equal(recipe_parse(text, strlen(text), &r, &e), rows[i].s);
    if (r)
      recipe_free(r);
  }
}

static int64_t
axis(const char *text, const attnc_sizes *s, int sms)
{
  char recipe[4096];
  int64_t v = -1;
  snprintf(recipe, sizeof recipe,
           RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
                        RT_STEPS(RT_PARAMS, "[%s,1,1]")),
           text);
  Recipe *r = parse(recipe);
  AxisValues values = axis_values(s, sms);
  bool fits = axis_value(&values, &r->steps[0].launch.grid[0], &v);
  recipe_free(r);
  return fits ? v : -1;
}

/* What of an axis is above 2^31 - 1, as a message says it; "": nothing. */
static const char *
above(const char *text, const attnc_sizes *s)
{
  static char out[96];
  char recipe[4096];
  snprintf(recipe, sizeof recipe,
           RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
                        RT_STEPS(RT_PARAMS, "[%s,1,1]")),
           text);
  Recipe *r = parse(recipe);
  AxisValues values = axis_values(s, 132);
  const Axis *over = axis_above(&values, &r->steps[0].launch.grid[0], INT32_MAX);
  out[0] = 0;
  if (over)
    axis_text(&values, over, out, sizeof out);
  recipe_free(r);
  return out;
}

static void
test_axes_above(void **state)
{
  const char *plain = "{\"mul\":[2,{\"ceil_div\":[\"sq\",64]},{\"size\":\"h\"},"
                      "{\"size\":\"b\"}]}";
  const char *shared = "{\"mul\":[{\"min\":[{\"mul\":[{\"sms\":2}]},{\"mul\":[2,"
                       "{\"ceil_div\":[\"sq\",64]},{\"size\":\"h\"},{\"size\":\"b\"}]}]}]}";
  const char *const both[] = {plain, shared};
  (void)state;
  for (int i = 0; i < 2; i++) {
    attnc_sizes s = {
        .size = sizeof s, .b = 1 << 14, .h = 1 << 15, .hk = 1, .sq = 128, .sk = 77};
    assert_string_equal(above(both[i], &s), "2 * ceil(sq 128 / 64) * h 32768 * b 16384");
    s.b--;
    assert_string_equal(above(both[i], &s), "");
    s.h = s.b = s.sq = (int64_t)1 << 30; /* past 64 bits */
    assert_string_equal(above(both[i], &s),
                        "2 * ceil(sq 1073741824 / 64) * h 1073741824 * b 1073741824");
    s.b = 0;
    assert_string_equal(above(both[i], &s), "");
  }
}

/* Sections of a grid: as many as fill something, and of the same size. */
static void
test_quotients(void **state)
{
  attnc_sizes s = {.size = sizeof s, .b = 2, .h = 8, .hk = 4, .sq = 1000, .sk = 77};
  (void)state;
  assert_int_equal(axis("{\"quotient\":[{\"size\":\"sq\"},{\"size\":\"sk\"}]}", &s, 1), 13);
  assert_int_equal(axis("{\"quotient\":[{\"size\":\"sq\"},250]}", &s, 1), 4);
  assert_int_equal(axis("{\"quotient\":[{\"mul\":[{\"size\":\"sq\"},{\"size\":\"b\"}]},"
                        "{\"min\":[{\"quotient\":[{\"size\":\"sk\"},10]},\"sm_count\"]}]}",
                        &s, 132),
                   250);
  const char *parted = "{\"mul\":[3,{\"aside\":[{\"mul\":[{\"size\":\"h\"},{\"size\":"
                       "\"b\"}]},{\"ceil_div\":[\"sq\",2]}]}]}";
  assert_int_equal(axis(parted, &s, 1), 48);
  s.sq = 2 * 65535;
  assert_int_equal(axis(parted, &s, 1), 48);
  s.sq++;
  assert_int_equal(axis(parted, &s, 1), 3);
  s.sq = INT64_MAX;
  s.sk = 2;
  assert_int_equal(axis("{\"quotient\":[{\"size\":\"sq\"},{\"size\":\"sk\"}]}", &s, 1),
                   INT64_MAX / 2 + 1);
  assert_int_equal(axis("{\"quotient\":[{\"mul\":[{\"size\":\"sq\"},2]},4]}", &s, 1), -1);
  assert_int_equal(axis("{\"quotient\":[4,{\"mul\":[{\"size\":\"sq\"},2]}]}", &s, 1), -1);
  s.sk = 0;
  assert_int_equal(
      axis("{\"quotient\":[{\"size\":\"sq\"},{\"size\":\"sk\"}]}", &s, 1) == INT64_MAX, 1);
  assert_int_equal(axis("{\"quotient\":[{\"size\":\"sk\"},{\"size\":\"b\"}]}", &s, 1), 0);
}

static void
test_axes(void **state)
{
  attnc_sizes s = {.size = sizeof s, .b = 2, .h = 8, .hk = 4, .sq = 1000, .sk = 77};
  (void)state;
  assert_int_equal(axis("7", &s, 108), 7);
  assert_int_equal(axis("\"sm_count\"", &s, 108), 108);
  assert_int_equal(axis("{\"ceil_div\":[\"sq\",128]}", &s, 1), 8);
  assert_int_equal(axis("{\"mul\":[{\"size\":\"b\"},{\"size\":\"h\"},3]}", &s, 1), 48);
  assert_int_equal(axis("{\"mul\":[{\"min\":[{\"mul\":[{\"size\":\"b\"},{\"size\":\"h\"}]},"
                        "\"sm_count\"]},2]}",
                        &s, 5),
                   10);
  /* A persistent grid: no more blocks than the device holds, whole clusters of them. */
  const char *persistent =
      "{\"min\":[{\"mul\":[{\"ceil_div\":[\"sq\",128]},{\"size\":\"h\"},"
      "{\"size\":\"b\"}]},{\"sms\":1}]}";
  assert_int_equal(axis(persistent, &s, 133), 128);
  assert_int_equal(axis(persistent, &s, 127), 127);
  assert_int_equal(axis("{\"sms\":2}", &s, 133), 132);
  assert_int_equal(axis("{\"sms\":4}", &s, 3), 4); /* never a grid of nothing */
  assert_int_equal(axis("{\"mul\":[{\"sms\":2},2]}", &s, 5), 8);
  /* Heads along y and batches along z, or all along x. */
  const char *const beside[] = {"{\"along\":[\"h\",\"b\"]}", "{\"aside\":[\"h\",\"b\"]}",
                                "{\"aside\":[\"b\",\"h\"]}"};
  static const int64_t many[][5] = {
      {8, 2, 1, 8, 2},          {65535, 65535, 1, 65535, 65535},
      {65536, 3, 196608, 1, 1}, {3, 65536, 196608, 1, 1},
      {65536, 0, 0, 1, 1},      {1LL << 40, 1LL << 40, -1, 1, 1}};
  for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
    s.h = many[i][0];
    s.b = many[i][1];
    for (int k = 0; k < 3; k++)
      assert_int_equal(axis(beside[k], &s, 1), many[i][2 + k]);
  }
  /* A choice, or what is without it. */
  const char *parts =
      "{\"mul\":[{\"or\":[\"num_splits\",{\"min\":[32,{\"ceil_div\":[\"sq\","
      "512]}]}]},{\"size\":\"hk\"}]}";
  assert_int_equal(axis(parts, &s, 1), 8);
  s.num_splits = 7;
  assert_int_equal(axis(parts, &s, 1), 28);
  s.num_splits = 0;
  /* Blocks of a packed batch. */
  s.h = 3;
  s.b = 5;
  const char *packed = "{\"mul\":[{\"add\":[{\"ceil_div\":[\"sq\",128]},{\"size\":\"b\"}]},"
                       "{\"size\":\"h\"}]}";
  assert_int_equal(axis(packed, &s, 1), 39);
  s.b = INT64_MAX;
  assert_int_equal(axis(packed, &s, 1), -1);
  s.sq = 0;
  assert_int_equal(axis(persistent, &s, 133), 0);
  assert_int_equal(axis("{\"ceil_div\":[\"sq\",128]}", &s, 1), 0);
  s.sq = s.sk = s.b = INT64_MAX;
  assert_int_equal(axis("{\"ceil_div\":[\"sq\",1]}", &s, 1) == INT64_MAX, 1);
  assert_int_equal(axis("{\"mul\":[{\"size\":\"sq\"},{\"size\":\"sk\"}]}", &s, 1), -1);
}

/* What is refused, and a part of what is said about it. */
#define MIN_OF(x) "{\"min\":[{\"quotient\":[{\"aside\":[" x ",\"sq\"]},2]}]}"
#define DEEP(x)   MIN_OF(MIN_OF(MIN_OF(MIN_OF(MIN_OF(x)))))
static const struct {
  const char *text, *says;
} refused[] = {
    {"", "line"},
    {"[]", "expected an object"},
    {"{\"a\":1,\"a\":2}", "duplicate"},
    {"{\"schema\":\"attnc.kernel/1\"}", "attnc.kernel/1"},
#define WITH(tensors, scalars, requires, workspace, steps)                                 \
  RT_RECIPE_OF("sm_80", "false", tensors, scalars, requires, workspace, steps)
    {RT_RECIPE_OF("gfx90a", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", "[]"),
     "sm_NN"},
    {RT_RECIPE_OF("sm_80", "1", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", "[]"), "exact"},
    {WITH("[]", RT_SCALARS, RT_REQUIRES, "0", "[]"), "tensors"},
    {WITH("[{\"name\":\"q\",\"slot\":64,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "not in 0 to 63"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"int7\",\"access\":\"in\"" RT_OF_q "}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "dtype 'int7'"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"way\"" RT_OF_q "}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "access"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q
          ",\"x\":1}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "tensors[0]: unknown key 'x'"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "},"
          "{\"name\":\"k\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_k "}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "slot 0 is taken"},
    {WITH(RT_TENSORS, "[{\"name\":\"s\",\"slot\":0,\"positive\":true,\"constant\":false}]",
          RT_REQUIRES, "0", "[]"),
     "default"},
    {WITH(RT_TENSORS, RT_SCALARS, "{}", "0", "[]"), "requires: 'align'"},
    {WITH(RT_TENSORS, RT_SCALARS, "{\"align\":16,\"aligned\":1}", "0", "[]"), "aligned"},
    {WITH(RT_TENSORS, RT_SCALARS, "{\"align\":16,\"sizes\":{\"dv\":1}}", "0", "[]"), "dv"},
    {WITH(RT_TENSORS, RT_SCALARS, "{\"align\":16,\"sizes\":{\"total_q\":9}}", "0", "[]"),
     "'sizes': no tensor has the axis 'total_q'"},
    {WITH(RT_TENSORS, RT_SCALARS, "{\"align\":16,\"strides\":{\"z\":[1,1,1,1,0]}}", "0",
          "[]"),
     "no tensor 'z'"},
    {WITH(RT_TENSORS,
          "[{\"name\":\"s\",\"slot\":0,\"default\":1,\"positive\":true,\"constant\":1}]",
          RT_REQUIRES, "0", "[]"),
     "'constant'"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"}]", "[]",
          RT_REQUIRES, "0", "[]"),
     "'align'"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\","
          "\"contiguous\":false,\"align\":16,\"axes\":[\"b\",\"dv\"]}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "expected a size"},
    {WITH("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\","
          "\"contiguous\":false,\"align\":16,\"axes\":[\"b\",0]}]",
          "[]", RT_REQUIRES, "0", "[]"),
     "'axes': 0 is not in"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES,
          "[{\"name\":\"w\",\"bytes\":{\"or\":[\"sq\",1]}}]", "[]"),
     "'or': expected a size that may be left out"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "7", "[]"), "workspace"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"product\":[1]}]", "[]"), "product"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"bytes\":1}]", "[]"),
     "workspace[0]: 'name'"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES,
          "[{\"name\":\"w\",\"bytes\":{\"mul\":[{\"min\":[{\"mul\":[1,{\"aside\":[\"b\","
          "\"h\"]}]},4]}]}}]",
          "[]"),
     "does not grow"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES,
          "[{\"name\":\"w\",\"bytes\":{\"mul\":[2,{\"add\":[1,{\"quotient\":[{\"size\":"
          "\"sq\"},"
          "{\"size\":\"h\"}]}]}]}}]",
          "[]"),
     "does not grow"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"name\":\"w\",\"bytes\":1,\"zero\":1}]",
          "[]"),
     "'zero': expected true or false"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES,
          "[{\"name\":\"w\",\"bytes\":{\"size\":\"b\"},\"zero\":true}]", "[]"),
     "workspace[0]: 'zero': expected a constant size"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES,
          "[{\"name\":\"v\",\"bytes\":1},{\"name\":\"w\",\"bytes\":1,\"zero\":true}]",
          "[]"),
     "workspace[1]: 'zero': expected"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[]",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"grid_without_workspace\":[1,1],\"block\":[32,1,1],\"shared\":0}}]"),
     "grid_without_workspace"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"name\":\"w\",\"bytes\":16}]",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"grid_without_workspace\":[1,1,1],\"block\":[32,1,1],\"shared\":0}},"
          "{\"memset\":{\"workspace\":0,\"value\":1,\"bytes\":16}}]"),
     "some have a grid without workspace"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"name\":\"w\",\"bytes\":1}]",
          RT_STEPS("[{\"type\":\"ptr\",\"workspace\":1}]", RT_GRID)),
     "no region 1 of workspace"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"memset\":{\"workspace\":0,\"value\":0,\"bytes\":16}}]"),
     "no region 0 of workspace"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", "[]"), "steps"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", "[{\"copy\":{}}]"), "launch or memset"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", RT_STEPS(RT_PARAMS, "[1,1]")), "grid"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", RT_STEPS(RT_PARAMS, "[1,1,-1]")),
     "not in 0"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"ceil_div\":[\"sq\",0]},1,1]")),
     "ceil_div"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"quotient\":[{\"size\":\"sq\"}]},1,1]")),
     "'quotient': expected a list of 2 to 2"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"aside\":[\"sq\",\"dv\"]},1,1]")),
     "expected a size"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"floor\":[\"sq\",2]},1,1]")),
     "floor"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[" DEEP(DEEP(DEEP(DEEP("1")))) ",1,1]")),
     "too deep"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"ptr\",\"tensor\":5}]", RT_GRID)),
     "params[0]: no tensor in slot 5"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"i32\",\"tensor\":0}]", RT_GRID)),
     "cannot be i32"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"i64\",\"stride\":[0,5]}]", RT_GRID)),
     "dim"},
    {WITH(RT_TENSORS, "[]", RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"f32\",\"scalar\":0}]", RT_GRID)),
     "no scalar"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"i32\",\"size\":\"d\"}]", RT_GRID)),
     "expected a size"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"i32\",\"size\":\"bc\"}]", RT_GRID)),
     "'bc': no tensor has such an axis"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"ceil_div\":[\"total_k\",64]},1,1]")),
     "'total_k': no tensor has such an axis"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS("[{\"type\":\"i32\",\"size\":\"b\",\"bias\":1}]", RT_GRID)),
     "one source"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"block\":[1024,2,1],\"shared\":0}}]"),
     "block"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"block\":[32,1,1],\"cluster\":[2,1,1],\"shared\":0}}]"),
     "sm_80 has neither clusters nor serialization"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"block\":[32,1,1],\"cluster\":[4,4,1],\"shared\":0}}]"),
     "'cluster': more than 8 in all"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"block\":[32,1,1],\"serialization\":1,\"shared\":0}}]"),
     "'serialization': expected true or false"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          RT_STEPS(RT_PARAMS, "[{\"sms\":0},1,1]")),
     "'sms': 0 is not in 1"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
          "[{\"launch\":{\"entry\":\"f\",\"params\":[],\"grid\":[1,1,1],"
          "\"block\":[32,1,1],\"shared\":0,\"maxreg\":1}}]"),
     "maxreg"},
    {WITH(RT_TENSORS, RT_SCALARS, RT_REQUIRES, "[{\"name\":\"w\",\"bytes\":16}]",
          "[{\"memset\":{\"workspace\":0,\"value\":256,\"bytes\":16}}]"),
     "value"},
#undef WITH
};

static void
test_refused(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    attnc_error e = {0};
    Recipe *r = NULL;
    if (recipe_parse(refused[i].text, strlen(refused[i].text), &r, &e) == ATTNC_OK)
      fail_msg("accepted: %s", refused[i].text);
    if (!strstr(e.message, refused[i].says))
      fail_msg("'%s' does not say '%s'", e.message, refused[i].says);
    assert_null(r);
  }
}

/* The example of docs/recipe.md. */
static void
test_the_documented_recipe(void **state)
{
  static char text[16384];
  FILE *f = fopen(SOURCE_DIR "/docs/recipe.md", "r");
  attnc_sizes s = {.size = sizeof s, .b = 2, .h = 8, .hk = 2, .sq = 1000, .sk = 4096};
  int64_t v = 0;
  (void)state;
  assert_non_null(f);
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  char *start = strstr(text, "```json\n"), *end = start ? strstr(start + 8, "```") : NULL;
  assert_non_null(end);
  *end = 0;
  Recipe *r = parse(start + 8);
  const Launch *l = &r->steps[0].launch;
  assert_int_equal(r->n_maps, 2);
  assert_int_equal(l->params[0].map->n_dims, 5);
  assert_int_equal(l->params[0].map->dim[3].times, 4);
  assert_int_equal(l->params[0].map->dim[3].stride, 1);
  assert_int_equal(l->params[1].index, 1);
  assert_true(l->serialization && l->extended);
  AxisValues many = axis_values(&s, 133), fewer = axis_values(&s, 101);
  assert_true(axis_value(&many, &l->grid[0], &v) && v == 128);
  assert_true(axis_value(&fewer, &l->grid[0], &v) && v == 100);
  recipe_free(r);
}

static void
test_unknown_keys_at_top_level_are_ignored(void **state)
{
  (void)state;
  char text[8192];
  snprintf(text, sizeof text, "{\"later\":[{\"a\":1}],%s", &RT_RECIPE[1]);
  recipe_free(parse(text));
}

/* ---- mutations ---- */

static uint64_t
next(uint64_t *s)
{
  *s ^= *s << 13;
  *s ^= *s >> 7;
  return *s ^= *s << 17;
}

/* Bytes changed, cut, doubled; numbers made large: a recipe that is still accepted can be
 * evaluated. */
static void
mutate(char *text, size_t *n, size_t cap, uint64_t *seed)
{
  static const char interesting[] = "{}[]\",:0123456789-.eE\\ntfu\0\xff";
  for (uint64_t times = 1 + next(seed) % 3; times; times--) {
    size_t at = next(seed) % *n;
    switch (next(seed) % 4) {
    case 0:
      text[at] = interesting[next(seed) % (sizeof interesting - 1)];
      break;
    case 1:
      text[at] = (char)next(seed);
      break;
    case 2: {
      size_t cut = next(seed) % 16 % (*n - at);
      memmove(text + at, text + at + cut, *n - at - cut);
      *n -= cut;
      break;
    }
    default:
      if (*n + 4 < cap) {
        memmove(text + at + 4, text + at, *n - at);
        memcpy(text + at, text + next(seed) % (*n - 4), 4);
        *n += 4;
      }
    }
  }
}

static void
test_mutations_never_crash(void **state)
{
  (void)state;
  static const char recipe[] = RT_RECIPE_OF(
      "sm_90a", "true", RT_TENSORS, RT_SCALARS,
      "{\"align\":16,\"group_size\":4,\"sizes\":{\"sq\":4096},"
      "\"strides\":{\"q\":[1,2,3,1,0]}}",
      "[{\"name\":\"parts\",\"bytes\":{\"mul\":[{\"size\":\"b\"},4,{\"min\":[3,\"sm_"
      "count\"]},"
      "{\"add\":[1,{\"size\":\"sk\"}]}]}}]",
      "[{\"launch\":{\"entry\":\"f\",\"params\":[{\"type\":\"map\",\"tensor\":0,"
      "\"dims\":[{\"n\":64},{\"size\":\"hk\",\"stride\":1,\"times\":4}],"
      "\"box\":[64,8],\"swizzle\":128,\"l2\":256},"
      "{\"type\":\"f32\",\"scalar\":0}],\"grid\":[{\"min\":[{\"ceil_div\":"
      "[\"sq\",128]},{\"sms\":2}]},{\"quotient\":[{\"aside\":[\"h\",\"b\"]},3]},"
      "{\"along\":[\"h\",\"b\"]}],\"block\":[128,1,1],\"cluster\":[2,1,1],"
      "\"serialization\":true,\"shared\":0}}]");
  const char *runs = getenv("ATTNC_TEST_FUZZ");
  long count = runs ? atol(runs) : 60000, accepted = 0;
  uint64_t seed = 88172645463325252u;
  attnc_sizes s = {.size = sizeof s, .b = 1, .h = 2, .hk = 1, .sq = 128, .sk = 128};
  recipe_free(parse(recipe));
  for (long i = 0; i < count; i++) {
    char text[sizeof recipe + 64];
    size_t n = sizeof recipe - 1;
    int64_t v;
    attnc_error e = {0};
    Recipe *r = NULL;
    memcpy(text, recipe, n);
    mutate(text, &n, sizeof text, &seed);
    if (recipe_parse(text, n, &r, &e) != ATTNC_OK) {
      assert_true(e.message[0] != 0);
      continue;
    }
    accepted++;
    AxisValues values = axis_values(&s, 4);
    for (int j = 0; j < r->n_steps; j++)
      for (int k = 0; r->steps[j].is_launch && k < 3; k++)
        axis_value(&values, &r->steps[j].launch.grid[k], &v);
    for (int j = 0; j < r->n_regions; j++)
      axis_value(&values, &r->regions[j].bytes, &v);
    recipe_free(r);
  }
  assert_true(accepted > count / 100);
  print_message("%ld mutated recipes, %ld accepted\n", count, accepted);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fields),
      cmocka_unit_test(test_schemas),
      cmocka_unit_test(test_axes),
      cmocka_unit_test(test_quotients),
      cmocka_unit_test(test_axes_above),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_the_documented_recipe),
      cmocka_unit_test(test_unknown_keys_at_top_level_are_ignored),
      cmocka_unit_test(test_mutations_never_crash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
