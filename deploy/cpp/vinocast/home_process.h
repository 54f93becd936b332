// Tells the process that made an object from the processes that it forks. Linux.
#pragma once

#include <atomic>
#include <cstddef>
#include <new>

#include <sys/mman.h>
#include <unistd.h>

namespace vinocast::detail {

/// Remembers the process in which it was made, and asks for no system call: the kernel gives a forked child a page of
/// zeros in place of this one.
class HomeProcess {
 public:
  HomeProcess() noexcept : pid_(::getpid()), size_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    void* page = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    // An emulator that takes any advice (QEMU) takes one that does not exist, too.
    constexpr int no_such_advice = -1;
    if (::madvise(page, size_, no_such_advice) == 0 || ::madvise(page, size_, MADV_WIPEONFORK) != 0) {
      ::munmap(page, size_);
      return;
    }
    mark_ = new (page) std::atomic<int>(1);
  }
  HomeProcess(const HomeProcess&) = delete;
  HomeProcess& operator=(const HomeProcess&) = delete;
  ~HomeProcess() {
    if (mark_ != nullptr) ::munmap(mark_, size_);
  }

  /// Whether this is that process.
  bool here() const noexcept {
    return mark_ != nullptr ? mark_->load(std::memory_order_relaxed) != 0 : ::getpid() == pid_;
  }

 private:
  const pid_t pid_;
  const std::size_t size_;
  std::atomic<int>* mark_ = nullptr;  // null where the kernel knows no such page
};

}  // namespace vinocast::detail
