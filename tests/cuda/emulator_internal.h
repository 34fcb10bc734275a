/* What the emulator's files share: the state of the device, its memory, and work that waits in streams. */
#ifndef ENTRO_CUDA_EMULATOR_INTERNAL_H
#define ENTRO_CUDA_EMULATOR_INTERNAL_H

#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "emulator.h"

/* --- device.cpp --- */

/* Keeps an error for cudaGetLastError, and returns it. */
cudaError_t entro_emulated_fail(cudaError_t error);
/* After it nothing succeeds any more. `text` is kept for entro_emulator_fault_text. */
cudaError_t entro_emulated_break(const char *text);
void entro_emulated_note_fault(const char *text);
/* What every call says first: no driver, an old one, or a device that has been lost. */
cudaError_t entro_emulated_check_device(void);
/* Whether the device is one that code is compiled for. */
bool entro_emulated_has_kernels(void);

#define ENTRO_CHECK_DEVICE()                                                                                 \
    do {                                                                                                     \
        cudaError_t device_error = entro_emulated_check_device();                                            \
        if (device_error != cudaSuccess)                                                                     \
            return entro_emulated_fail(device_error);                                                        \
    } while (0)

/* --- memory.cpp --- */

enum class entro_place { host, pinned, device, nowhere };

/* Where `size` bytes from here on lie: within one kind of memory, or partly. */
enum entro_place entro_emulated_place(const void *address, size_t size);
/* Whether the host may touch the device's memory: from a launch to the next call that waits it may. */
void entro_emulated_show(bool is_shown);
/* The bytes move, the host's view of the device's memory stays. */
void entro_emulated_move(void *target, const void *source, size_t size);
void entro_emulated_fill(void *target, int value, size_t size);

/* --- streams.cpp --- */

/* An event's record, of one time. */
struct entro_mark {
    bool is_done = false;
    struct timespec time = {};
};

/* It waits, works and sets its mark; each may be missing. */
struct entro_operation {
    std::shared_ptr<struct entro_mark> waits;
    std::function<cudaError_t()> work;
    std::shared_ptr<struct entro_mark> sets;
};

typedef std::deque<struct entro_operation> entro_queue;

/* Does what is in `own`, all of it or until the mark, and in the other queues what the setting says and what
 * that waits for. */
void entro_emulated_finish(const std::vector<entro_queue *> &all, entro_queue *own,
                           const struct entro_mark *until);
void entro_emulated_finish_all(void);
void entro_emulated_forget_streams(void);

struct entro_capture;

struct entro_emulated_stream {
    entro_queue queue;
    bool is_blocking = true; /* one that waits for the default stream, and it for this */
    std::shared_ptr<struct entro_capture> capture; /* null, or one that is over: not capturing */
};
struct entro_emulated_event {
    std::shared_ptr<struct entro_mark> mark;       /* null: never recorded */
    std::shared_ptr<struct entro_capture> capture; /* that its last record was part of */
};

struct entro_emulated_stream *entro_emulated_stream_of(cudaStream_t stream);

/* --- graphs.cpp --- */

/* The capture that a stream takes part in; nullptr: none. */
struct entro_capture *entro_emulated_capturing(cudaStream_t stream);
/* A part of a capture instead of work of the stream. */
cudaError_t entro_emulated_record(struct entro_capture *capture, struct entro_emulated_stream *stream,
                                  struct entro_operation operation);
/* A stream that waits for a captured event takes part in the capture. */
cudaError_t entro_emulated_join_capture(struct entro_emulated_stream *stream,
                                        const struct entro_emulated_event *event);
/* For calls that must not be made while anything is captured: they spoil it. */
cudaError_t entro_emulated_unsafe(void);
/* The default stream cannot be used while a stream is captured that waits for it. */
cudaError_t entro_emulated_use_default(void);
void entro_emulated_forget_captures(void);
std::function<cudaError_t()> entro_emulated_replay(cudaGraphExec_t exec);

#endif
