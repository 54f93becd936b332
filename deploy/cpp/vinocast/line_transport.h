// Lines in and out of non-blocking descriptors: no call here ever waits.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>
#include <unistd.h>

namespace vinocast::detail {

/// One line, without its end. It stands in the reader's buffer until the next call to LineReader::fill, and
/// LineReader::padding bytes behind it may be read (not used).
struct Line {
  const char* data = nullptr;
  std::size_t size = 0;
};

/// Cuts what a descriptor delivers into lines of bounded length, in place.
class LineReader {
 public:
  /// What the JSON parser asks for behind its input.
  static constexpr std::size_t padding = 64;

  explicit LineReader(std::size_t max_line) : max_line_(max_line) {}

  enum class Read { some, nothing, end };

  /// Reads once.
  Read fill(int fd) {
    make_room();
    const ssize_t count = ::read(fd, buffer_.data() + end_, buffer_.size() - padding - end_);
    if (count > 0) {
      end_ += static_cast<std::size_t>(count);
      return Read::some;
    }
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Read::nothing;
    return Read::end;
  }

  /// Hands out the next whole line; false when there is none.
  bool next(Line& line) {
    while (begin_ < end_) {
      const char* start = buffer_.data() + begin_;
      const auto* newline = static_cast<const char*>(std::memchr(buffer_.data() + scanned_, '\n', end_ - scanned_));
      if (newline == nullptr) {
        scanned_ = end_;
        if (end_ - begin_ > max_line_) {
          if (!skipping_) ++overlong_;
          skipping_ = true;
          clear();
        }
        return false;
      }
      const auto size = static_cast<std::size_t>(newline - start);
      begin_ += size + 1;
      scanned_ = begin_;
      if (skipping_) {
        skipping_ = false;
        continue;
      }
      line = {start, size > 0 && start[size - 1] == '\r' ? size - 1 : size};
      return true;
    }
    return false;
  }

  /// Lines that were too long, and skipped.
  std::uint64_t overlong() const noexcept { return overlong_; }

  /// Forgets what is left of an earlier stream.
  void reset() noexcept {
    clear();
    skipping_ = false;
  }

 private:
  static constexpr std::size_t read_bytes = std::size_t{64} << 10U;

  void clear() noexcept { begin_ = scanned_ = end_ = 0; }

  void make_room() {
    if (begin_ == end_) clear();
    if (begin_ > 0 && buffer_.size() < end_ + read_bytes + padding) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      scanned_ -= begin_;
      end_ -= begin_;
      begin_ = 0;
    }
    if (buffer_.size() < end_ + read_bytes + padding) buffer_.resize(2 * end_ + read_bytes + padding);
  }

  std::size_t max_line_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;    // of the first line that was not handed out
  std::size_t scanned_ = 0;  // up to here there is no newline
  std::size_t end_ = 0;
  bool skipping_ = false;
  std::uint64_t overlong_ = 0;
};

/// Writes as much of two pieces as the descriptor takes now; returns the bytes taken.
inline std::size_t write_some(int fd, std::string_view head, std::string_view body) noexcept {
  iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  ssize_t count = -1;
  do {
    count = ::writev(fd, pieces, 2);
  } while (count < 0 && errno == EINTR);
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

/// Requests that the pipe had no room for, in order. Bounded by what may be in flight.
class Outbox {
 public:
  bool empty() const noexcept { return entries_.empty(); }

  /// Appends a request of which the first bytes may have been written already.
  void push(std::uint64_t id, std::string_view head, std::string_view body, std::size_t written) {
    if (entries_.empty()) written_ = written;
    std::string text;
    text.reserve(head.size() + body.size());
    text.append(head).append(body);
    entries_.push_back({id, std::move(text)});
  }

  /// Writes what the descriptor takes now; calls `started(id)` for each request of which the first byte goes out.
  template <typename Started>
  void flush(int fd, Started&& started) {
    while (!entries_.empty()) {
      const Entry& first = entries_.front();
      const std::string_view rest = std::string_view(first.text).substr(written_);
      const std::size_t count = write_some(fd, rest, {});
      if (count > 0 && written_ == 0) started(first.id);
      written_ += count;
      if (count < rest.size()) return;
      entries_.pop_front();
      written_ = 0;
    }
  }

  /// Takes back a request of which nothing was written.
  void remove(std::uint64_t id) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->id != id) continue;
      if (entry != entries_.begin() || written_ == 0) entries_.erase(entry);
      return;
    }
  }

  /// Drops the request of which a part was written: its pipe is gone.
  void drop_started() {
    if (!entries_.empty() && written_ > 0) entries_.pop_front();
    written_ = 0;
  }

  void clear() noexcept {
    entries_.clear();
    written_ = 0;
  }

 private:
  struct Entry {
    std::uint64_t id;
    std::string text;
  };
  std::deque<Entry> entries_;
  std::size_t written_ = 0;  // bytes of the first entry
};

}  // namespace vinocast::detail
