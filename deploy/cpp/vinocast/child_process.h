// A child process with pipes on its standard streams: start, signal, reap. Linux.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The C library closes with close_range(), or one by one where the kernel has no such call.
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ) && !defined(VINOCAST_NO_CLOSEFROM)
#if __GLIBC_PREREQ(2, 34)
#define VINOCAST_HAS_CLOSEFROM
#endif
#endif

namespace vinocast::detail {

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept {
    // In this order, so that a child which is forked between never closes a number that it has used anew.
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

[[noreturn]] inline void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct Pipe {
  Descriptor read;
  Descriptor write;
};

/// Makes a pipe that no other child inherits.
inline Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
  Pipe pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  // In a program that has closed its standard streams a pipe could take their numbers, and the child's dup2 calls would
  // then overwrite one end with another.
  for (Descriptor* end : {&pipe.read, &pipe.write}) {
    if (end->get() > STDERR_FILENO) continue;
    const int moved = ::fcntl(end->get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0) throw_errno("fcntl(F_DUPFD_CLOEXEC)");
    end->reset(moved);
  }
  return pipe;
}

inline void set_non_blocking(const Descriptor& fd) {
  if (::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK) != 0) throw_errno("fcntl(O_NONBLOCK)");
}

/// Closes everything from 3 up in a child that is about to be started: a socket that this program has opened without
/// O_CLOEXEC would stay open, and its port busy, as long as the service lives.
inline void add_close_from_3(posix_spawn_file_actions_t& actions) {
#ifdef VINOCAST_HAS_CLOSEFROM
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
#else
  // Misses what another thread opens in between. A number that is free by then does no harm.
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (fd > STDERR_FILENO && fd != ::dirfd(folder)) ::posix_spawn_file_actions_addclose(&actions, fd);
  }
  ::closedir(folder);
#endif
}

/// A running child. Destroying it kills it if it still runs.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&&) = delete;
  ~ChildProcess() {
    if (running()) reap();
  }

  /// Starts a program (with PATH) with pipes on stdin and stdout, and on stderr if that is to be captured.
  ///
  /// Throws std::system_error with the reason, such as "No such file or directory".
  void spawn(const std::string& program, const std::vector<std::string>& arguments, bool capture_stderr) {
    Pipe in = make_pipe();
    Pipe out = make_pipe();
    Pipe err;
    if (capture_stderr) err = make_pipe();
    // Room for a whole window in one go; a refusal (a limit of this user) only makes it slower.
    ::fcntl(in.write.get(), F_SETPIPE_SZ, 1 << 20);
    ::fcntl(out.read.get(), F_SETPIPE_SZ, 1 << 20);
    set_non_blocking(in.write);
    set_non_blocking(out.read);
    if (err.read) set_non_blocking(err.read);

    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&actions, in.read.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
    if (err.write) ::posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
    add_close_from_3(actions);
    // Whatever this thread blocks or this program ignores, the child starts as from a shell. A group of its own keeps
    // the terminal's Ctrl-C for this program, and lets a signal reach what a wrapper script has started.
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::system_error(error, std::generic_category(), "cannot start " + program);

    pid_ = pid;
    // Readable once the child has ended. Old kernels and strict sandboxes refuse it; ended() is then asked instead.
    pidfd_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    stdin_ = std::move(in.write);
    stdin_reader_ = std::move(in.read);
    stdout_ = std::move(out.read);
    stderr_ = std::move(err.read);
  }

  bool running() const noexcept { return pid_ > 0; }
  pid_t pid() const noexcept { return pid_; }
  /// Readable once the process has ended; -1 where the kernel has no such thing.
  int pidfd() const noexcept { return pidfd_.get(); }
  int stdin_fd() const noexcept { return stdin_.get(); }
  int stdout_fd() const noexcept { return stdout_.get(); }
  int stderr_fd() const noexcept { return stderr_.get(); }

  /// Ends the child's input.
  void close_stdin() noexcept {
    stdin_.reset();
    stdin_reader_.reset();
  }
  void close_stdout() noexcept { stdout_.reset(); }
  void close_stderr() noexcept { stderr_.reset(); }

  /// Whether the process has ended; it stays to be reaped.
  bool ended() const noexcept {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return errno == ECHILD;
    return info.si_pid == pid_;
  }

  /// Sends a signal to the process and to what it has started in its group.
  void signal(int number) const noexcept {
    if (running()) ::kill(-pid_, number);
  }

  /// Kills the process if it has not ended, waits for it, and says how it ended. What a wrapper script leaves behind in
  /// its group is killed too: the group's number is safe to use until the process is reaped.
  std::string reap() {
    signal(SIGKILL);
    int status = 0;
    pid_t reaped = -1;
    do {
      reaped = ::waitpid(pid_, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    forget();
    if (reaped < 0) return "ended; this program ignores SIGCHLD, so its exit code is unknown";
    if (WIFSIGNALED(status)) {
      return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
    }
    return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  }

  /// Leaves a process to itself: one that does not end even after SIGKILL, or one that is another process's child.
  void abandon() noexcept { forget(); }

 private:
  void forget() noexcept {
    pid_ = -1;
    pidfd_.reset();
    close_stdin();
    close_stdout();
    close_stderr();
  }

  pid_t pid_ = -1;
  Descriptor pidfd_;
  Descriptor stdin_;
  // Kept open, so that writing to a child that has just died fills a pipe instead of raising SIGPIPE. Its death is seen
  // elsewhere.
  Descriptor stdin_reader_;
  Descriptor stdout_;
  Descriptor stderr_;
};

}  // namespace vinocast::detail
