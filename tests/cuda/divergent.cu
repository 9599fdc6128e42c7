// Lanes that go their own ways: a loop whose trip count and exits depend on the data, then a
// jump table on what it found, then a rendezvous (ballot) of whoever is left.

static __device__ unsigned turn(unsigned kind, unsigned x, unsigned steps)
{
  switch (kind) {
  case 0: return x + steps;
  case 1: return x ^ (steps << 7);
  case 2: return x * 2654435761u;
  case 3: return __popc(x) + steps;
  case 4: return __brev(x) - steps;
  case 5: return __clz(x | 1u) * steps;
  case 6: return (x >> (steps & 31u)) | (x << (32u - (steps & 31u) & 31u));
  case 7: return x / (steps + 1u);
  case 8: return x % (steps + 3u);
  case 9: return x > steps ? x - steps : steps - x;
  case 10: return min(x, steps * steps * steps);
  default: return ~x;
  }
}

// The same through a jump table: nvcc makes compares of a switch, so it is written out.
static __device__ unsigned jump(unsigned arm, unsigned x, unsigned steps)
{
  unsigned r;
  asm volatile("{\n"
               ".reg .pred p;\n"
               "arms: .branchtargets A0, A1, A2, A3, A4;\n"
               "brx.idx %1, arms;\n"
               "A0: mad.lo.u32 %0, %2, %3, 17;\n"
               "bra OUT;\n"
               "A1: shf.l.wrap.b32 %0, %2, %3, %3;\n"
               "bra OUT;\n"
               "A2: lop3.b32 %0, %2, %3, 0x0f0f0f0f, 0x96;\n"
               "bra OUT;\n"
               "A3: setp.hi.u32 p, %2, 0x10000;\n"
               "@p bra A1;\n"
               "A4: prmt.b32 %0, %2, %3, 0x2514;\n"
               "OUT:\n"
               "}\n"
               : "=&r"(r) : "r"(arm), "r"(x), "r"(steps));
  return r;
}

extern "C" __global__ void __launch_bounds__(128)
divergent(const unsigned *x, unsigned n, unsigned limit, unsigned *steps_out,
          unsigned *peak_out, unsigned *turn_out, unsigned *jump_out,
          unsigned *odd_out)
{
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  unsigned start = x[i], v = start, peak = start, steps = 0;
  while (v > 1u) {
    if (v & 1u) {
      if (v > 0x55555554u)
        break; // 3v + 1 would not fit
      v = 3u * v + 1u;
    } else {
      v >>= 1;
    }
    peak = max(peak, v);
    if (++steps == limit)
      break;
    if (start % 7u == 3u && steps > start % 64u)
      break;
  }
  steps_out[i] = steps;
  peak_out[i] = peak;
  turn_out[i] = turn((start + steps) % 13u, v ^ start, steps);
  jump_out[i] = jump((start ^ steps) % 5u, v ^ start, steps);
  unsigned left = n - i / 32u * 32u;
  unsigned here = left < 32u ? (1u << left) - 1u : 0xffffffffu; // they meet here again
  unsigned odd = __ballot_sync(here, steps & 1u);
  if ((threadIdx.x & 31u) == 0)
    odd_out[i / 32u] = odd;
}
