# One image for the four daemons and the CLI: `docker run drawbar gateway …`.
# Built in two stages, so that the image has neither sources nor build tools.

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/drawbar
# The packages first: this layer is built again only when a pin changes.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN /opt/drawbar/bin/pip install --no-cache-dir --constraint constraints.txt setuptools \
 && /opt/drawbar/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt \
 && /opt/drawbar/bin/pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt
COPY shared shared
COPY jobstore jobstore
COPY registry registry
COPY gateway gateway
COPY worker worker
COPY faults faults
COPY drawbar drawbar
RUN /opt/drawbar/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/drawbar/bin/pip uninstall --yes --quiet setuptools pip

FROM python:3.11-slim
COPY --from=build /opt/drawbar /opt/drawbar
# A number, not a name: Kubernetes checks runAsNonRoot against it without reading /etc/passwd.
RUN groupadd --gid 7400 drawbar \
 && useradd --uid 7400 --gid 7400 --home-dir /data --no-create-home --shell /usr/sbin/nologin drawbar \
 && install --directory --owner 7400 --group 7400 --mode 0700 /data
ENV PATH=/opt/drawbar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DRAWBAR_DATA=/data \
    DRAWBAR_HEALTH_URLS=http://127.0.0.1:7400/healthz
USER 7400:7400
WORKDIR /data
VOLUME /data
# Every address in DRAWBAR_HEALTH_URLS has to answer: a service's own /healthz; for a worker, which
# listens to nobody, those of the services that it needs.
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; [u.urlopen(a, timeout=3).read() for a in os.environ['DRAWBAR_HEALTH_URLS'].split()]"]
ENTRYPOINT ["drawbar"]
CMD ["--help"]
