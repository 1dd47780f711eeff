# Two stages, so that the image has no compiler, no pip cache and no test.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY receiver receiver
COPY migrations migrations
RUN python -m venv /opt/receiver \
 && /opt/receiver/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim
# The data directory holds the database and the key-encryption key: keep it on a volume, and back it up.
RUN useradd --system --uid 10001 --home-dir /data --create-home receiver && chmod 700 /data
COPY --from=build /opt/receiver /opt/receiver
ENV PATH=/opt/receiver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RECEIVER_DATA_DIR=/data \
    RECEIVER_LOG_FORMAT=json
USER receiver
VOLUME /data
EXPOSE 8443
STOPSIGNAL SIGTERM
# The certificate is self-signed in many set-ups and names another host than localhost: here only life is asked for.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-m", "receiver.web.health_check"]
ENTRYPOINT ["receiver"]
CMD ["serve", "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"]
