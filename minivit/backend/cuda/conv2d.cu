// Convolution and its two gradients as matrix products whose large factor is never written out ("implicit GEMM").
//
//     y[b, o, r, t] = bias[o] + sum over c, i, j of weight[o, c, i, j] x[b, c, SH r + i - top, SW t + j - left]
//
// where x is zero outside its image. Each of the three is out[m, n] = sum over k of left[m, k] right[k, n]:
//
//                          m    n          k          left                  right
//     y                    o    b, r, t    c, i, j    weight[o, c, i, j]    x[b, c, SH r + i - top, SW t + j - left]
//     gradient of weight   o    c, i, j    b, r, t    dy[b, o, r, t]        x[b, c, SH r + i - top, SW t + j - left]
//     gradient of x        c    b, h, w    o, i, j    weight[o, c, i, j]    dy[b, o, r, t]: SH r + i = h + top,
//                                                                                           SW t + j = w + left
//
// A struct for each says what a row of this table says: how m, n and k are taken apart, and which numbers they name.
// `multiply` is the product; it knows nothing of convolutions.
//
// REAL is float or double. KH, KW, SH, SW, the kernel's size and stride, are constants of the compilation, so that
// dividing by them costs a multiplication. Positions within an image are int, offsets of images size_t: the caller
// holds the sizes to what that needs.

typedef REAL Real;

enum {
    TILE = 64,               // a block computes TILE x TILE numbers of the product
    DEPTH = 16,              // from DEPTH terms at a time, in shared memory
    THREADS = 256,           // each of its threads SIDE x SIDE of them
    SIDE = 4,
    PITCH = TILE + 4,        // a row in shared memory: stores down a column meet different banks, reads stay aligned
    LOADS = TILE * DEPTH / THREADS
};

struct Sizes {
    int B, C, H, W, O, R, T, top, left;   // x (B, C, H, W), y (B, O, R, T)
};

// x[c, SH r + i - top, SW t + j - left] of one image: the number that tap (i, j) meets in the window of pixel (r, t).
__device__ Real under_tap(const Real *image, const Sizes &s, int c, int i, int j, int r, int t)
{
    const int h = SH * r + i - s.top, w = SW * t + j - s.left;
    return h >= 0 && h < s.H && w >= 0 && w < s.W ? image[(c * s.H + h) * s.W + w] : Real(0);
}

// y: m = o, n = (b R + r) T + t, k = (c KH + i) KW + j.
struct Forward {
    enum { LEFT_ALONG_K = 1, RIGHT_ALONG_K = 0 };   // along which index neighbours lie side by side in memory
    struct Term { int k, c, i, j; };
    struct Column { const Real *image; int r, t; };

    Sizes s;
    const Real *x, *weight, *bias;   // bias 0: none
    Real *y;

    __device__ Term term(int k) const { return {k, k / (KH * KW), k / KW % KH, k % KW}; }

    __device__ Column column(int n) const
    {
        const int b = n / (s.R * s.T), pixel = n % (s.R * s.T);
        return {x + size_t(b) * (s.C * s.H * s.W), pixel / s.T, pixel % s.T};
    }

    __device__ Real left(int o, const Term &k) const { return weight[o * (s.C * KH * KW) + k.k]; }

    __device__ Real right(const Term &k, const Column &n) const
    {
        return under_tap(n.image, s, k.c, k.i, k.j, n.r, n.t);
    }

    __device__ Real *out(int n) const   // where out[0, n] lies
    {
        const int b = n / (s.R * s.T), pixel = n % (s.R * s.T);
        return y + size_t(b) * (s.O * s.R * s.T) + pixel;
    }

    __device__ void put(Real *out, int o, Real sum) const { out[o * (s.R * s.T)] = bias ? sum + bias[o] : sum; }
};

// Gradient of weight: m = o, n = (c KH + i) KW + j, k = (b R + r) T + t.
struct WeightGradient {
    enum { LEFT_ALONG_K = 1, RIGHT_ALONG_K = 1 };
    struct Term { int b, pixel, r, t; };
    struct Column { int c, i, j; };

    Sizes s;
    const Real *x, *dy;
    Real *dweight;

    __device__ Term term(int k) const
    {
        const int b = k / (s.R * s.T), pixel = k % (s.R * s.T);
        return {b, pixel, pixel / s.T, pixel % s.T};
    }

    __device__ Column column(int n) const { return {n / (KH * KW), n / KW % KH, n % KW}; }

    __device__ Real left(int o, const Term &k) const
    {
        return dy[size_t(k.b) * (s.O * s.R * s.T) + (o * (s.R * s.T) + k.pixel)];
    }

    __device__ Real right(const Term &k, const Column &n) const
    {
        return under_tap(x + size_t(k.b) * (s.C * s.H * s.W), s, n.c, n.i, n.j, k.r, k.t);
    }

    __device__ Real *out(int n) const { return dweight + n; }

    __device__ void put(Real *out, int o, Real sum) const { out[o * (s.C * KH * KW)] = sum; }
};

// Gradient of x: m = c. A tap (i, j) meets pixel (h, w) only where SH divides h + top - i and SW divides w + left - j.
// So the pixels fall into SH SW phases, (h + top) mod SH and (w + left) mod SW, each with taps of its own. In phase
// (row, col), with h + top = SH q + row and w + left = SW p + col, these are i = row + SH u and j = col + SW v, and
// r = q - u, t = p - v: a product for each phase, n = (b, q, p) and k = (o, u, v), without a term that is always zero.
// Where SH does not divide KH, the last u has no tap in some phases: it is there, and counts for nothing.
struct InputGradient {
    enum { LEFT_ALONG_K = KH * KW > 1, RIGHT_ALONG_K = 0 };
    enum { TAPS_H = (KH + SH - 1) / SH, TAPS_W = (KW + SW - 1) / SW };
    struct Term { int o, u, v; };
    struct Column { const Real *image; int q, p; };

    Sizes s;
    const Real *dy, *weight;
    Real *dx;
    int row, col;         // the phase
    int q_first, rows;    // of its pixels: those with 0 <= h < H
    int p_first, cols;

    __device__ InputGradient(const Sizes &s, const Real *dy, const Real *weight, Real *dx, int phase)
        : s(s), dy(dy), weight(weight), dx(dx), row(phase / SW), col(phase % SW)
    {
        q_first = (s.top - row + SH - 1) / SH;                        // the least q with SH q + row - top >= 0
        rows = (s.top + s.H - row + SH - 1) / SH - q_first;
        p_first = (s.left - col + SW - 1) / SW;
        cols = (s.left + s.W - col + SW - 1) / SW - p_first;
    }

    __device__ int terms() const { return row < KH && col < KW ? s.O * TAPS_H * TAPS_W : 0; }

    __device__ Term term(int k) const { return {k / (TAPS_H * TAPS_W), k / TAPS_W % TAPS_H, k % TAPS_W}; }

    __device__ Column column(int n) const
    {
        const int b = n / (rows * cols), pixel = n % (rows * cols);
        return {dy + size_t(b) * (s.O * s.R * s.T), q_first + pixel / cols, p_first + pixel % cols};
    }

    __device__ Real left(int c, const Term &k) const
    {
        const int i = row + SH * k.u, j = col + SW * k.v;
        return i < KH && j < KW ? weight[((k.o * s.C + c) * KH + i) * KW + j] : Real(0);
    }

    __device__ Real right(const Term &k, const Column &n) const
    {
        const int r = n.q - k.u, t = n.p - k.v;
        return r >= 0 && r < s.R && t >= 0 && t < s.T ? n.image[(k.o * s.R + r) * s.T + t] : Real(0);
    }

    __device__ Real *out(int n) const
    {
        const int b = n / (rows * cols), pixel = n % (rows * cols);
        const int h = SH * (q_first + pixel / cols) + row - s.top, w = SW * (p_first + pixel % cols) + col - s.left;
        return dx + size_t(b) * (s.C * s.H * s.W) + (h * s.W + w);
    }

    __device__ void put(Real *out, int c, Real sum) const { out[c * (s.H * s.W)] = sum; }
};

// The place in a tile, (depth, side), of the number that a thread loads as its l-th: neighbouring threads read
// neighbours in memory.
__device__ int depth_of(bool along_k, int thread, int l)
{
    return along_k ? thread % DEPTH : thread / TILE + l * (THREADS / TILE);
}

__device__ int side_of(bool along_k, int thread, int l)
{
    return along_k ? thread / DEPTH + l * (THREADS / DEPTH) : thread % TILE;
}

// out[m, n] = sum over first <= k < last of left[m, k] right[k, n], m < M, n < N, in ascending order of k.
//
// A block takes rows from TILE blockIdx.y on and columns from TILE blockIdx.x on. Rows and columns past the end repeat
// the last one and are not stored; terms past the end are zero.
template <class Product>
__device__ void multiply(const Product &product, int M, int N, int first, int last)
{
    __shared__ __align__(16) Real left[DEPTH][PITCH];
    __shared__ __align__(16) Real right[DEPTH][PITCH];
    const int thread = threadIdx.x, m_first = TILE * blockIdx.y, n_first = TILE * blockIdx.x;
    const bool left_along_k = Product::LEFT_ALONG_K, right_along_k = Product::RIGHT_ALONG_K;

    int m_of[LOADS];
    typename Product::Column column_of[LOADS];
#pragma unroll
    for (int l = 0; l < LOADS; ++l) {
        m_of[l] = min(m_first + side_of(left_along_k, thread, l), M - 1);
        column_of[l] = product.column(min(n_first + side_of(right_along_k, thread, l), N - 1));
    }

    const int m_mine = SIDE * (thread / (TILE / SIDE)), n_mine = SIDE * (thread % (TILE / SIDE));
    Real sums[SIDE][SIDE] = {};
    for (int k_first = first; k_first < last; k_first += DEPTH) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int depth = depth_of(left_along_k, thread, l), k = k_first + depth;
            left[depth][side_of(left_along_k, thread, l)] = k < last ? product.left(m_of[l], product.term(k)) : Real(0);
        }
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int depth = depth_of(right_along_k, thread, l), k = k_first + depth;
            right[depth][side_of(right_along_k, thread, l)] =
                k < last ? product.right(product.term(k), column_of[l]) : Real(0);
        }
        __syncthreads();   // the tiles are complete
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            Real a[SIDE], b[SIDE];
#pragma unroll
            for (int i = 0; i < SIDE; ++i) {
                a[i] = left[k][m_mine + i];
                b[i] = right[k][n_mine + i];
            }
#pragma unroll
            for (int i = 0; i < SIDE; ++i)
#pragma unroll
                for (int j = 0; j < SIDE; ++j)
                    sums[i][j] += a[i] * b[j];
        }
        __syncthreads();   // nobody reads them any more
    }

#pragma unroll
    for (int j = 0; j < SIDE; ++j) {
        const int n = n_first + n_mine + j;
        if (n < N) {
            Real *out = product.out(n);
#pragma unroll
            for (int i = 0; i < SIDE; ++i)
                if (m_first + m_mine + i < M)
                    product.put(out, m_first + m_mine + i, sums[i][j]);
        }
    }
}

// Grid: (ceil(B R T / TILE), ceil(O / TILE)).
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_forward(
    const Real *__restrict__ x, const Real *__restrict__ weight, const Real *__restrict__ bias, int has_bias,
    Real *__restrict__ y, int B, int C, int H, int W, int O, int R, int T, int top, int left)
{
    const Forward product = {{B, C, H, W, O, R, T, top, left}, x, weight, has_bias ? bias : 0, y};
    multiply(product, O, B * R * T, 0, C * KH * KW);
}

// Grid: (ceil(B ceil(H / SH) ceil(W / SW) / TILE), ceil(C / TILE), SH SW).
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_input_gradient(
    const Real *__restrict__ dy, const Real *__restrict__ weight, Real *__restrict__ dx,
    int B, int C, int H, int W, int O, int R, int T, int top, int left)
{
    const InputGradient product({B, C, H, W, O, R, T, top, left}, dy, weight, dx, blockIdx.z);
    const int N = B * product.rows * product.cols;
    if (TILE * int(blockIdx.x) < N)   // phases differ in size by a row and a column
        multiply(product, C, N, 0, product.terms());
}

// The sum over k in parts, one for each blockIdx.z, of `part` terms each: parts (gridDim.z, O, C, KH, KW).
// Grid: (ceil(C KH KW / TILE), ceil(O / TILE), ceil(B R T / part)).
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_weight_gradient(
    const Real *__restrict__ x, const Real *__restrict__ dy, Real *__restrict__ parts, int part,
    int B, int C, int H, int W, int O, int R, int T, int top, int left)
{
    Real *const mine = parts + size_t(blockIdx.z) * (O * C * KH * KW);
    const WeightGradient product = {{B, C, H, W, O, R, T, top, left}, x, dy, mine};
    const int first = part * int(blockIdx.z);
    multiply(product, O, C * KH * KW, first, min(B * R * T - first, part) + first);
}

// total[e] = parts[0, e] + parts[1, e] + ..., in this order whatever the device does: the same bits in every run.
// Grid: (ceil(size / THREADS)).
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_add_parts(
    const Real *__restrict__ parts, Real *__restrict__ total, int count, int size)
{
    const int e = THREADS * blockIdx.x + threadIdx.x;
    if (e >= size)
        return;
    Real sum = 0;
    for (int p = 0; p < count; ++p)
        sum += parts[size_t(p) * size + e];
    total[e] = sum;
}
