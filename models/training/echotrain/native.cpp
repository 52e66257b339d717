// Training kernels for one CPU thread, float32, channels last: what PyTorch's own do slowest in this network.
// Every tensor is [rows, C] with rows = N*H*W, or [N, H, W, C]; C is a multiple of 16.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace {

constexpr int L = 16;
typedef float vec __attribute__((vector_size(L * sizeof(float)), aligned(4), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec splat(float f) { return vec{} + f; }

// Sums per channel are taken in float over blocks of rows and in double over the blocks.
constexpr size_t kBlock = 64;

inline void flush(vec v, double* sum) {
    for (int i = 0; i < L; i++) sum[i] += v[i];
}

struct Depthwise {
    int n, h, w, c, oh, ow, before;  // before: padding above and to the left
};

// One image, one block of 16 channels. x and gx are padded images [ph, pw, c]; weight and gw are [k*k, c].
template <int K, int S>
void backward_block(const Depthwise& d, const float* x, const float* gy, const float* weight, float* gx, float* gw, size_t pw) {
    vec wt[K * K], acc[K * K];
    for (int t = 0; t < K * K; t++) {
        wt[t] = load(weight + size_t(t) * d.c);
        acc[t] = load(gw + size_t(t) * d.c);
    }
    for (int y = 0; y < d.oh; y++)
        for (int z = 0; z < d.ow; z++) {
            const vec g = load(gy + (size_t(y) * d.ow + z) * d.c);
            const size_t at = (size_t(y) * S * pw + size_t(z) * S) * d.c;
#pragma GCC unroll 5
            for (int a = 0; a < K; a++)
#pragma GCC unroll 5
                for (int b = 0; b < K; b++) acc[a * K + b] += g * load(x + at + (a * pw + b) * d.c);
        }
    for (int t = 0; t < K * K; t++) store(gw + size_t(t) * d.c, acc[t]);
    for (int y = 0; y < d.oh; y++)
        for (int z = 0; z < d.ow; z++) {
            const vec g = load(gy + (size_t(y) * d.ow + z) * d.c);
            float* to = gx + (size_t(y) * S * pw + size_t(z) * S) * d.c;
#pragma GCC unroll 5
            for (int a = 0; a < K; a++)
#pragma GCC unroll 5
                for (int b = 0; b < K; b++) {
                    float* p = to + (a * pw + b) * d.c;
                    store(p, load(p) + wt[a * K + b] * g);
                }
        }
}

// Stride 1: the gradient of the input is gathered from padded gy, without read-modify-write.
template <int K>
void input_block(const Depthwise& d, const float* gyp, const float* weight, float* gx, size_t pw) {
    vec wt[K * K];
    for (int t = 0; t < K * K; t++) wt[t] = load(weight + size_t(K * K - 1 - t) * d.c);
    for (int y = 0; y < d.h; y++)
        for (int z = 0; z < d.w; z++) {
            const float* p = gyp + (size_t(y) * pw + z) * d.c;
            vec s{};
#pragma GCC unroll 5
            for (int a = 0; a < K; a++)
#pragma GCC unroll 5
                for (int b = 0; b < K; b++) s += wt[a * K + b] * load(p + (a * pw + b) * d.c);
            store(gx + (size_t(y) * d.w + z) * d.c, s);
        }
}

template <int K>
void weight_block(const Depthwise& d, const float* x, const float* gy, float* gw, size_t pw) {
    vec acc[K * K];
    for (int t = 0; t < K * K; t++) acc[t] = load(gw + size_t(t) * d.c);
    for (int y = 0; y < d.oh; y++)
        for (int z = 0; z < d.ow; z++) {
            const vec g = load(gy + (size_t(y) * d.ow + z) * d.c);
            const float* p = x + (size_t(y) * pw + z) * d.c;
#pragma GCC unroll 5
            for (int a = 0; a < K; a++)
#pragma GCC unroll 5
                for (int b = 0; b < K; b++) acc[a * K + b] += g * load(p + (a * pw + b) * d.c);
        }
    for (int t = 0; t < K * K; t++) store(gw + size_t(t) * d.c, acc[t]);
}

void pad_image(const float* from, float* to, int h, int w, int c, int before, size_t ph, size_t pw) {
    std::memset(to, 0, ph * pw * c * sizeof(float));
    for (int y = 0; y < h; y++)
        std::memcpy(to + ((y + before) * pw + before) * c, from + size_t(y) * w * c, size_t(w) * c * sizeof(float));
}

template <int K>
void depthwise(const Depthwise& d, int stride, const float* x, const float* gy, const float* weight, float* gx, float* gw) {
    const size_t ph = std::max(d.h + d.before, (d.oh - 1) * stride + K) + K, pw = std::max(d.w + d.before, (d.ow - 1) * stride + K) + K;
    std::vector<float> padded(ph * pw * d.c), other(ph * pw * d.c);
    for (int i = 0; i < d.n; i++) {
        const float* xi = x + size_t(i) * d.h * d.w * d.c;
        const float* gi = gy + size_t(i) * d.oh * d.ow * d.c;
        float* to = gx + size_t(i) * d.h * d.w * d.c;
        pad_image(xi, padded.data(), d.h, d.w, d.c, d.before, ph, pw);
        if (stride == 1) {
            pad_image(gi, other.data(), d.oh, d.ow, d.c, K - 1 - d.before, ph, pw);
            for (int c = 0; c < d.c; c += L) {
                weight_block<K>(d, padded.data() + c, gi + c, gw + c, pw);
                input_block<K>(d, other.data() + c, weight + c, to + c, pw);
            }
            continue;
        }
        std::memset(other.data(), 0, other.size() * sizeof(float));
        for (int c = 0; c < d.c; c += L)
            backward_block<K, 2>(d, padded.data() + c, gi + c, weight + c, other.data() + c, gw + c, pw);
        for (int y = 0; y < d.h; y++)
            std::memcpy(to + size_t(y) * d.w * d.c, other.data() + ((y + d.before) * pw + d.before) * d.c, size_t(d.w) * d.c * sizeof(float));
    }
}

}  // namespace

extern "C" {

// Gradients of a depthwise k x k convolution (k 3 or 5, stride 1 or 2): gx [n,h,w,c], gw [k*k,c] (zeroed by the caller).
void depthwise_backward(const float* x, const float* gy, const float* weight, float* gx, float* gw, int n, int h, int w, int c,
                        int oh, int ow, int k, int stride, int before) {
    const Depthwise d{n, h, w, c, oh, ow, before};
    if (k == 3)
        depthwise<3>(d, stride, x, gy, weight, gx, gw);
    else
        depthwise<5>(d, stride, x, gy, weight, gx, gw);
}

// Batch normalisation with the batch's statistics, then min(max(., 0), 6) if act: y; mean and variance (biased) per channel.
void norm_forward(const float* x, const float* gamma, const float* beta, float* y, float* mean, float* var, size_t rows, int c,
                  float eps, int act) {
    std::vector<double> s(c), q(c);  // of the differences to the first row, against cancellation
    std::vector<float> bs(c), bq(c);
    for (size_t r0 = 0; r0 < rows; r0 += kBlock) {
        std::fill(bs.begin(), bs.end(), 0.f);
        std::fill(bq.begin(), bq.end(), 0.f);
        const size_t r1 = std::min(rows, r0 + kBlock);
        for (size_t r = r0; r < r1; r++)
            for (int i = 0; i < c; i += L) {
                const vec v = load(x + r * c + i) - load(x + i);
                store(&bs[i], load(&bs[i]) + v);
                store(&bq[i], load(&bq[i]) + v * v);
            }
        for (int i = 0; i < c; i++) s[i] += bs[i], q[i] += bq[i];
    }
    std::vector<float> a(c), b(c);
    for (int i = 0; i < c; i++) {
        const double m = s[i] / rows, v = std::max(0.0, q[i] / rows - m * m);
        mean[i] = float(x[i] + m), var[i] = float(v);
        a[i] = float(gamma[i] / __builtin_sqrt(v + eps));
        b[i] = beta[i] - mean[i] * a[i];
    }
    const vec zero{}, six = splat(6.f);
    for (size_t r = 0; r < rows; r++)
        for (int i = 0; i < c; i += L) {
            vec v = load(x + r * c + i) * load(&a[i]) + load(&b[i]);
            if (act) {
                v = v > zero ? v : zero;
                v = v < six ? v : six;
            }
            store(y + r * c + i, v);
        }
}

// Gradients of norm_forward: gx, and per channel ggamma, gbeta.
void norm_backward(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean, const float* var,
                   float* gx, float* ggamma, float* gbeta, size_t rows, int c, float eps, int act) {
    std::vector<double> s(c), q(c);
    std::vector<float> bs(c), bq(c), a(c), b(c), inv(c);
    for (int i = 0; i < c; i++) {
        inv[i] = 1.f / __builtin_sqrtf(var[i] + eps);
        a[i] = gamma[i] * inv[i];
        b[i] = beta[i] - mean[i] * a[i];
    }
    const vec zero{}, six = splat(6.f);
    auto pass = [&](const float* p, const float* g, int i) {  // the gradient behind the activation
        const vec v = load(p) * load(&a[i]) + load(&b[i]);
        const vec w = load(g);
        return act ? (v > zero && v < six ? w : zero) : w;
    };
    for (size_t r0 = 0; r0 < rows; r0 += kBlock) {
        std::fill(bs.begin(), bs.end(), 0.f);
        std::fill(bq.begin(), bq.end(), 0.f);
        const size_t r1 = std::min(rows, r0 + kBlock);
        for (size_t r = r0; r < r1; r++)
            for (int i = 0; i < c; i += L) {
                const vec g = pass(x + r * c + i, gy + r * c + i, i);
                store(&bs[i], load(&bs[i]) + g);
                store(&bq[i], load(&bq[i]) + g * (load(x + r * c + i) - load(mean + i)));
            }
        for (int i = 0; i < c; i++) s[i] += bs[i], q[i] += bq[i];
    }
    std::vector<float> k0(c), k1(c);
    for (int i = 0; i < c; i++) {
        gbeta[i] = float(s[i]);
        ggamma[i] = float(q[i] * inv[i]);
        // gx = a * (g - mean(g) - (x - mean) * inv^2 * mean(g * (x - mean)))
        k1[i] = float(-a[i] * inv[i] * inv[i] * q[i] / rows);
        k0[i] = float(-a[i] * s[i] / rows) - mean[i] * k1[i];
    }
    for (size_t r = 0; r < rows; r++)
        for (int i = 0; i < c; i += L)
            store(gx + r * c + i, pass(x + r * c + i, gy + r * c + i, i) * load(&a[i]) + load(x + r * c + i) * load(&k1[i]) + load(&k0[i]));
}
}
