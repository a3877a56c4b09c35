# A swarmd node. Built by the project's own `make install`; runs as an ordinary user, with all state on a volume.
#
#   docker build -t swarmd .
#   docker run --gpus all -v swarmd-state:/var/lib/swarmd -p 4801:4801 -p 4802:4802 swarmd

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential libgmp-dev python3.11 python3.11-dev python3.11-venv
WORKDIR /opt/swarmd
COPY . .
RUN make install

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgmp10 python3.11 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/swarmd --create-home swarmd
COPY --from=build /opt/swarmd /opt/swarmd
ENV PATH=/opt/swarmd/.venv/bin:$PATH \
    SWARMD_STATE_DIR=/var/lib/swarmd \
    SWARMD_TENSOR_PORT=4802
USER swarmd
VOLUME /var/lib/swarmd
EXPOSE 4801 4802
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["swarmd", "status", "--json"]
ENTRYPOINT ["swarmd"]
CMD ["up"]
