// SPDX-License-Identifier: MIT
//
// The cases of yoke-bench by fibers of boost on one thread: one repetition of the case that is
// named, its result as one number. What is measured is processor time of the whole process. The
// stacks have boost's default size, 128 KiB, and no guard pages, and are pooled, since by default
// each fiber costs an mmap and an munmap. There is no cancellation and no select.
#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <time.h>
#include <vector>

namespace fibers = boost::fibers;
using fibers::fiber;

static fibers::pooled_fixedsize_stack stacks;

template <class Function> static fiber start(Function function)
{
    return fiber(std::allocator_arg, stacks, function);
}

static double cpu()
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

// Times operation(n) after operation(n / 8 + 1): ns per one of n.
static double each(long n, const std::function<void(long)> &operation)
{
    operation(n / 8 + 1);
    double began = cpu();
    operation(n);
    return (cpu() - began) / double(n);
}

static void both(const std::function<void()> &one, const std::function<void()> &other)
{
    fiber first = start(one), second = start(other);

    first.join();
    second.join();
}

static void yields(long n)
{
    auto turns = [n] {
        for (long i = 0; i < n / 2; i++)
            boost::this_fiber::yield();
    };

    both(turns, turns);
}

static void spawns(long n, size_t batch)
{
    std::vector<fiber> running(batch);

    for (long i = 0; i < n; i += long(batch)) {
        for (auto &f : running)
            f = start([] {});
        for (auto &f : running)
            f.join();
    }
}

template <class Channel> static void flow(Channel &channel, long n)
{
    auto produce = [&channel, n] {
        for (int64_t i = 0; i < n; i++)
            channel.push(i);
        channel.close();
    };
    auto consume = [&channel, n] {
        int64_t item;
        long received = 0;

        while (channel.pop(item) == fibers::channel_op_status::success)
            received++;
        if (received != n)
            throw std::runtime_error("items were lost");
    };

    both(produce, consume);
}

static void rendezvous(long n)
{
    fibers::unbuffered_channel<int64_t> channel;

    flow(channel, n);
}

static void buffered(long n)
{
    fibers::buffered_channel<int64_t> channel(128);

    flow(channel, n);
}

static void locks(long n)
{
    fibers::mutex mutex;

    for (long i = 0; i < n; i++) {
        mutex.lock();
        mutex.unlock();
    }
}

static void handed_locks(long n)
{
    fibers::mutex mutex;
    auto contend = [&mutex, n] {
        for (long i = 0; i < n / 2; i++) {
            std::unique_lock<fibers::mutex> lock(mutex);

            boost::this_fiber::yield();
        }
    };

    both(contend, contend);
}

// C++'s own errors: a message, no backtrace, thrown and caught one frame up.
static void raises(long n)
{
    for (long i = 0; i < n; i++) {
        try {
            throw std::runtime_error("item " + std::to_string(i) + " is not ok");
        } catch (const std::runtime_error &error) {
            asm volatile("" : : "r"(&error) : "memory");
        }
    }
}

static double kib_of(const char *path, const std::string &key)
{
    std::ifstream file(path);

    for (std::string line; std::getline(file, line);)
        if (line.compare(0, key.size(), key) == 0)
            return std::stod(line.substr(key.size())) * 1024;
    throw std::runtime_error(path);
}

static double resident()
{
    return kib_of("/proc/self/smaps_rollup", "Rss:") + kib_of("/proc/self/status", "VmPTE:");
}

// Bytes of each of n fibers that are asleep. Woken all together, since they can't be cancelled.
static double idle(size_t n)
{
    fibers::mutex mutex;
    fibers::condition_variable wake;
    std::vector<fiber> sleeping;
    bool over = false;
    double before = resident();

    for (size_t i = 0; i < n; i++)
        sleeping.push_back(start([&] {
            std::unique_lock<fibers::mutex> lock(mutex);

            wake.wait_for(lock, std::chrono::hours(1), [&] { return over; });
        }));
    boost::this_fiber::yield();
    double after = resident();
    over = true;
    wake.notify_all();
    for (auto &f : sleeping)
        f.join();
    return (after - before) / double(n);
}

static void naps()
{
    std::vector<fiber> sleeping;

    for (int i = 0; i < 10000; i++)
        sleeping.push_back(start([] {
            for (int k = 0; k < 20; k++)
                boost::this_fiber::sleep_for(std::chrono::milliseconds(10));
        }));
    for (auto &f : sleeping)
        f.join();
}

static double sleeps()
{
    naps();
    double began = cpu();
    naps();
    return (cpu() - began) / (10000 * 20);
}

int main(int argc, char **argv)
{
    const std::map<std::string, std::function<double()>> cases = {
        {"yield", [] { return each(2000000, yields); }},
        {"spawn_join_1", [] { return each(400000, [](long n) { spawns(n, 1); }); }},
        {"spawn_join_1000", [] { return each(400000, [](long n) { spawns(n, 1000); }); }},
        {"chan_rendezvous", [] { return each(1000000, rendezvous); }},
        {"chan_buffered", [] { return each(1000000, buffered); }},
        {"mutex", [] { return each(4000000, locks); }},
        {"mutex_handed", [] { return each(1000000, handed_locks); }},
        {"raise", [] { return each(200000, raises); }},
        {"idle_20k", [] { return idle(20000); }},
        {"sleep_10k", sleeps},
    };
    auto found = cases.find(argc == 2 ? argv[1] : "");

    if (found == cases.end())
        return 3;
    std::printf("%f\n", found->second());
    return 0;
}
