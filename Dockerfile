# Vinocast with its bundled models, to run and nothing else:
#
#   docker build -t vinocast .
#   docker run -p 8000:8000 vinocast        HTTP
#   docker run -i vinocast stdio            JSON lines
#
# docs/deployment.md says how to run it well.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python3 -m venv --without-pip /opt/vinocast
COPY requirements/runtime.txt requirements/
RUN pip --python /opt/vinocast/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
    -r requirements/runtime.txt
COPY . .
RUN pip --python /opt/vinocast/bin/python install --no-cache-dir --no-compile --no-deps .

# What a service that reads IRs and runs them on a CPU never loads goes, a third of the whole. Of OpenVINO's
# libraries the list says what stays: the core, the CPU plugin, the IR reader, and TBB with what it binds threads by.
# Without its package OpenVINO's telemetry is a stub that sends nothing; `import openvino` alone would reach for it.
# Bytecode is made afterwards, for what is left, and is never compared with its source again: nothing changes in an image.
RUN cd /opt/vinocast/lib/python3.11/site-packages && \
    find openvino/libs -type f ! -name 'libopenvino.so*' ! -name libopenvino_intel_cpu_plugin.so \
        ! -name 'libopenvino_ir_frontend.so*' ! -name 'libtbb*.so*' ! -name 'libhwloc.so*' -delete && \
    rm -r openvino/include openvino/cmake openvino/torch openvino/tools/benchmark openvino_telemetry* && \
    find openvino/frontend -mindepth 1 -type d -prune -exec rm -r {} + && \
    find . -type d -name tests -prune -exec rm -r {} + && \
    find /opt/vinocast/bin -type f ! -name vinocast -delete && \
    find . -type f \( -name '*.py[ix]' -o -name '*.px[di]' -o -name '*.[cha]' -o -name '*.cpp' \) -delete && \
    python3 -m compileall -q --invalidation-mode unchecked-hash .


FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Vinocast" \
      org.opencontainers.image.description="Time-series forecasts on server CPUs with OpenVINO, at millisecond latency" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /opt/vinocast /opt/vinocast
# VINOCAST_HOST: other arguments than those of CMD, such as `serve --profile native`, must be reachable as well. And
# without a token, VINOCAST_INSECURE: who may ask is decided by whoever publishes the port, or gives VINOCAST_TOKEN.
ENV PATH=/opt/vinocast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VINOCAST_HOST=0.0.0.0 \
    VINOCAST_INSECURE=1
# Both transports once: an image whose model does not come out right fails here. It also leaves the bytecode of the
# standard library's modules that a start imports: the base has none, and nobody may write it later.
RUN export PYTHONDONTWRITEBYTECODE= && echo '{"op": "ping"}' | vinocast stdio && python3 -c 'import vinocast.transports.http.server'
# For --state: a volume that is mounted here becomes the user's.
RUN install -d -o 10001 -g 10001 /state
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# Kubernetes sets VINOCAST_PORT=tcp://... for a service of this name: passed over, as the program itself does.
# A bare socket: a third of the processor time that an HTTP client's imports take from the forecasts.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python3", "-ISc", "import os, socket, sys; p = os.environ.get('VINOCAST_PORT', ''); s = socket.create_connection(('127.0.0.1', int(p) if p.isdigit() else 8000), 2); s.sendall(b'GET /readyz HTTP/1.0\\r\\n\\r\\n'); sys.exit(not s.recv(32).startswith(b'HTTP/1.1 200 '))"]
ENTRYPOINT ["vinocast"]
CMD ["serve", "--host", "0.0.0.0", "--insecure"]
