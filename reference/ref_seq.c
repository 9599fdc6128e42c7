/* Sequences of lengths of their own: what the tensors of `seqlens` say of each, checked
 * where they are numbers of the host. */
#include "reference/ref.h"

#include "base/err.h"

/* ---- what they say ---- */

static bool
is_given(const Ref *r, int slot)
{
  return spec_has_tensor(r->spec, slot) && r->t[slot].data;
}

/* Element i of a tensor of `seqlens`, `absent` where the call has it not. */
static int64_t
number(const Ref *r, int slot, int64_t i, int64_t absent)
{
  return is_given(r, slot) ? ((const int32_t *)r->t[slot].data)[i] : absent;
}

/* Rows of a sequence in a tensor. */
typedef struct Rows {
  int64_t first, n;
} Rows;

static Rows
rows_of(const Ref *r, int offsets, int64_t b, int64_t longest)
{
  int64_t first = number(r, offsets, b, 0);
  return (Rows){first, number(r, offsets, b + 1, longest) - first};
}

RefSeq
ref_sequence(const Ref *r, int64_t b)
{
  Rows q = rows_of(r, ATTNC_CU_SEQLENS_Q, b, r->n.sq);
  Rows k = rows_of(r, ATTNC_CU_SEQLENS_K, b, r->n.sk);
  int64_t pad = number(r, ATTNC_LEFTPAD_K, b, 0);
  int64_t end = number(r, ATTNC_SEQUSED_K, b, k.n);
  end = is_given(r, ATTNC_APPEND_AT) && r->spec->append ? ref_keys_with_new(r, b) : end;
  return (RefSeq){.b = b,
                  .sq = number(r, ATTNC_SEQUSED_Q, b, q.n),
                  .sk = r->n.sp + end - pad,
                  .q_first = q.first,
                  .k_first = k.first,
                  .k_pad = pad,
                  .kb = number(r, ATTNC_CACHE_BATCH_IDX, b, b)};
}

static int
table_of(const Ref *r, int slot)
{
  bool own = slot == ATTNC_V && spec_has_tensor(r->spec, ATTNC_PAGE_TABLE_V);
  return own ? ATTNC_PAGE_TABLE_V : ATTNC_PAGE_TABLE;
}

int64_t
ref_page(const Ref *r, int slot, int64_t row, int64_t i)
{
  const attnc_tensor *t = &r->t[table_of(r, slot)];
  return ((const int32_t *)t->data)[row * t->stride[0] + i];
}

/* ---- what they must be ---- */

static attnc_status
check_offsets(const Ref *r, int slot, int64_t total, int64_t longest, attnc_error *err)
{
  const char *name = tensor_info[slot].name;
  if (!is_given(r, slot))
    return ATTNC_OK;
  if (number(r, slot, 0, 0) != 0)
    return err_set(err, ATTNC_ERR_SHAPE, "reference: %s[0] is %lld, not 0", name,
                   (long long)number(r, slot, 0, 0));
  for (int64_t b = 0; b < r->n.b; b++) {
    long long at = number(r, slot, b, 0), end = number(r, slot, b + 1, 0);
    if (end < at || end > total)
      return err_set(
          err, ATTNC_ERR_SHAPE,
          "reference: %s[%lld] is %lld, not from %lld to the %lld rows there are", name,
          (long long)b + 1, end, at, (long long)total);
    if (end - at > longest)
      return err_set(err, ATTNC_ERR_SHAPE,
                     "reference: %s[%lld] and the next leave %lld rows, more than the %lld "
                     "of the longest sequence",
                     name, (long long)b, end - at, (long long)longest);
  }
  return ATTNC_OK;
}

static attnc_status
check_within(const Ref *r, int slot, int64_t b, int64_t most, attnc_error *err)
{
  int64_t n = number(r, slot, b, 0);
  if (!is_given(r, slot) || (n >= 0 && n <= most))
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_SHAPE, "reference: %s[%lld] is %lld, not from 0 to %lld",
                 tensor_info[slot].name, (long long)b, (long long)n, (long long)most);
}

/* Of the pages that hold keys that count; what else a table has is nobody's. */
static attnc_status
check_pages(const Ref *r, int slot, int64_t b, attnc_error *err)
{
  RefSeq s = ref_sequence(r, b);
  int64_t rows = r->n.page_size, own = s.sk - r->n.sp, end = s.k_pad + own;
  if (!r->spec->page_table || !r->t[table_of(r, slot)].data)
    return ATTNC_OK;
  for (int64_t i = s.k_pad / rows; own > 0 && i * rows < end; i++) {
    long long id = ref_page(r, slot, s.kb, i);
    if (id < 0 || id >= r->n.pages)
      return err_set(err, ATTNC_ERR_SHAPE,
                     "reference: %s[%lld, %lld] is %lld, not from 0 to %lld",
                     tensor_info[table_of(r, slot)].name, (long long)s.kb, (long long)i, id,
                     (long long)r->n.pages - 1);
  }
  return ATTNC_OK;
}

static attnc_status
check_prefix_pages(const Ref *r, attnc_error *err)
{
  const attnc_tensor *t = &r->t[ATTNC_PREFIX_PAGES];
  for (int64_t i = 0; t->data && i * r->n.page_size < r->n.sp; i++) {
    long long id = ((const int32_t *)t->data)[i];
    if (id < 0 || id >= r->n.pages)
      return err_set(err, ATTNC_ERR_SHAPE,
                     "reference: prefix_pages[%lld] is %lld, not from 0 to %lld",
                     (long long)i, id, (long long)r->n.pages - 1);
  }
  return ATTNC_OK;
}

attnc_status
ref_take_sequences(Ref *r, attnc_error *err)
{
  TRY(check_prefix_pages(r, err));
  TRY(check_offsets(r, ATTNC_CU_SEQLENS_Q, r->n.total_q, r->n.sq, err));
  TRY(check_offsets(r, ATTNC_CU_SEQLENS_K, r->n.total_k, r->n.sk, err));
  for (int64_t b = 0; b < r->n.b; b++) {
    int64_t q = rows_of(r, ATTNC_CU_SEQLENS_Q, b, r->n.sq).n;
    int64_t k = rows_of(r, ATTNC_CU_SEQLENS_K, b, r->n.sk).n;
    TRY(check_within(r, ATTNC_SEQUSED_Q, b, q, err));
    TRY(check_within(r, ATTNC_SEQUSED_K, b, k, err));
    int64_t had = r->spec->append ? number(r, ATTNC_APPEND_AT, b, k) : k;
    TRY(check_within(r, ATTNC_LEFTPAD_K, b, number(r, ATTNC_SEQUSED_K, b, had), err));
    TRY(check_within(r, ATTNC_CACHE_BATCH_IDX, b, r->n.bc - 1, err));
    TRY(check_pages(r, ATTNC_K, b, err));
    TRY(check_pages(r, ATTNC_V, b, err));
  }
  return ATTNC_OK;
}

/* ---- of all ---- */

bool
ref_is_packed(const Ref *r)
{
  return spec_has_tensor(r->spec, ATTNC_CU_SEQLENS_Q);
}

double
ref_pairs(const Ref *r)
{
  double n = 0;
  for (int64_t b = 0; b < r->n.b; b++) {
    RefSeq s = ref_sequence(r, b);
    n += (double)s.sq * (double)s.sk;
  }
  return n * (double)r->n.h;
}
