import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The program of tests/clients/README.md for the Java client, any version. */
final class Matrix {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final Map<String, String> arguments = new HashMap<>(Map.of("compression", "none", "isolation", "committed", "protocol", "classic"));
    private final Map<Integer, Schema> schemas = new HashMap<>();
    private HttpClient web;
    private volatile boolean stopped;

    public static void main(String[] words) throws Exception {
        if (words[0].equals("version")) {
            Properties version = new Properties();
            try (var file = Matrix.class.getResourceAsStream("/kafka/kafka-version.properties")) {
                version.load(file);
            }
            say("version", Map.of("version", version.getProperty("version")));
            return;
        }
        Matrix matrix = new Matrix();
        for (int n = 1; n < words.length; n += 2) {
            matrix.arguments.put(words[n].substring(2), words[n + 1]);
        }
        try {
            switch (words[0]) {
                case "publish" -> matrix.publish();
                case "read" -> matrix.read();
                case "group" -> matrix.group();
                default -> throw new IllegalArgumentException("no such command: " + words[0]);
            }
        } catch (KafkaException error) {
            sayError(error);
            System.exit(1);
        }
    }

    private static synchronized void say(String event, Map<String, ?> fields) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("event", event);
        line.putAll(fields);
        try {
            System.out.write((JSON.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    /** An exception and its causes, as a stack trace shows them. */
    private static String told(Throwable error) {
        String own = error.getClass().getSimpleName() + ": " + error.getMessage();
        return error.getCause() == null ? own : own + ": caused by " + told(error.getCause());
    }

    private static void sayError(Throwable error) {
        say("error", Map.of("error", told(error)));
    }

    private String argument(String name) {
        return arguments.get(name);
    }

    private Properties common() throws Exception {
        Properties it = new Properties();
        it.put("client.id", arguments.getOrDefault("client-id", "java"));
        it.put("bootstrap.servers", argument("bootstrap"));
        it.put("security.protocol", "SSL");
        it.put("ssl.keystore.type", "PEM");
        it.put("ssl.truststore.type", "PEM");
        it.put("ssl.truststore.certificates", Files.readString(Path.of(argument("ca"))));
        it.put("ssl.keystore.certificate.chain", Files.readString(Path.of(argument("cert"))));
        it.put("ssl.keystore.key", Files.readString(Path.of(argument("key"))));
        it.put("metadata.max.age.ms", "1000");
        return it;
    }

    @SuppressWarnings("unchecked")
    private void publish() throws Exception {
        Properties settings = common();
        settings.put("compression.type", argument("compression"));
        settings.put("acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            for (String line : Files.readAllLines(Path.of(argument("records")))) {
                Map<String, Object> record = JSON.readValue(line, Map.class);
                String key = (String) record.get("key");
                byte[] value = frame((Map<String, Object>) record.get("row"));
                var message = new ProducerRecord<>(argument("topic"), key, value);
                ((Map<String, String>) record.getOrDefault("headers", Map.of()))
                        .forEach((name, text) -> message.headers().add(name, text.getBytes(StandardCharsets.UTF_8)));
                try {
                    var sent = producer.send(message).get();
                    say("sent", Map.of("key", key, "partition", sent.partition(), "offset", sent.offset()));
                } catch (ExecutionException refused) {
                    say("refused", Map.of("key", key, "error", told(refused.getCause())));
                }
            }
        }
    }

    private KafkaConsumer<String, byte[]> consumer(Map<String, String> more) throws Exception {
        Properties settings = common();
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_" + argument("isolation"));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer());
    }

    private void read() throws Exception {
        try (var consumer = consumer(Map.of())) {
            List<TopicPartition> partitions = consumer.partitionsFor(argument("topic")).stream()
                    .map(it -> new TopicPartition(it.topic(), it.partition())).toList();
            consumer.assign(partitions);
            if (argument("from-time") == null) {
                consumer.seekToBeginning(partitions);
            } else {
                Map<TopicPartition, Long> times = new HashMap<>();
                partitions.forEach(it -> times.put(it, Long.valueOf(argument("from-time"))));
                consumer.offsetsForTimes(times).forEach((partition, found) -> {
                    if (found == null) {
                        consumer.seekToEnd(List.of(partition));
                    } else {
                        consumer.seek(partition, found.offset());
                    }
                });
            }
            say("started", Map.of());
            poll(consumer, false);
        }
    }

    private void group() throws Exception {
        Map<String, String> more = new HashMap<>(Map.of("group.id", argument("group")));
        if (argument("protocol").equals("consumer")) {
            more.put("group.protocol", "consumer");
        }
        try (var consumer = consumer(more)) {
            consumer.subscribe(List.of(argument("topic")), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    say("assigned", Map.of("partitions", partitions.stream().map(TopicPartition::partition).toList()));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    say("revoked", Map.of("partitions", partitions.stream().map(TopicPartition::partition).toList()));
                }
            });
            poll(consumer, true);
        }
    }

    private void poll(KafkaConsumer<String, byte[]> consumer, boolean commit) throws Exception {
        Thread waiting = new Thread(() -> {
            try {
                System.in.transferTo(java.io.OutputStream.nullOutputStream());
            } catch (java.io.IOException closed) {
                sayError(closed);
            }
            stopped = true;
            consumer.wakeup();
        });
        waiting.setDaemon(true);
        waiting.start();
        try {
            while (!stopped) {
                var records = consumer.poll(Duration.ofSeconds(1));
                for (ConsumerRecord<String, byte[]> record : records) {
                    Map<String, Object> fields = new LinkedHashMap<>();
                    fields.put("partition", record.partition());
                    fields.put("offset", record.offset());
                    fields.put("key", record.key());
                    fields.put("row", row(record.value()));
                    say("record", fields);
                }
                if (commit && !records.isEmpty()) {
                    consumer.commitSync();
                }
            }
        } catch (WakeupException end) {
            if (!stopped) {
                throw end;
            }
        }
    }

    /** Byte 0, schema id, Avro. No row is no value. */
    private byte[] frame(Map<String, Object> row) throws Exception {
        if (row == null) {
            return null;
        }
        Map<?, ?> latest = get("/subjects/" + argument("topic") + "-value/versions/latest");
        Schema schema = parse((String) latest.get("schema"));
        GenericRecordBuilder builder = new GenericRecordBuilder(schema);
        row.forEach(builder::set);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(ByteBuffer.allocate(5).put((byte) 0).putInt((Integer) latest.get("id")).array());
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(schema).write(builder.build(), encoder);
        encoder.flush();
        return out.toByteArray();
    }

    private Object row(byte[] value) throws Exception {
        if (value == null) {
            return null;
        }
        int id = ByteBuffer.wrap(value, 1, 4).getInt();
        if (!schemas.containsKey(id)) {
            schemas.put(id, parse((String) get("/schemas/ids/" + id).get("schema")));
        }
        Schema schema = schemas.get(id);
        var body = new ByteArrayInputStream(value, 5, value.length - 5);
        GenericRecord row = new GenericDatumReader<GenericRecord>(schema).read(null, DecoderFactory.get().binaryDecoder(body, null));
        return JSON.readValue(GenericData.get().toString(row), Map.class);
    }

    private static Schema parse(String text) {
        return new Schema.Parser().parse(text);
    }

    private Map<?, ?> get(String path) throws Exception {
        if (web == null) {
            web = HttpClient.newBuilder().sslContext(tls()).build();
        }
        var answer = web.send(HttpRequest.newBuilder(URI.create(argument("registry") + path)).build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("registry: " + answer.statusCode() + ": " + answer.body());
        }
        return JSON.readValue(answer.body(), Map.class);
    }

    private SSLContext tls() throws Exception {
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (var file = Files.newInputStream(Path.of(argument("ca")))) {
            trusted.setCertificateEntry("authority", certificates.generateCertificate(file));
        }
        String pem = Files.readString(Path.of(argument("key"))).replaceAll("-----[A-Z ]+-----|\\s", "");
        var key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        try (var file = Files.newInputStream(Path.of(argument("cert")))) {
            own.setKeyEntry("system", key, new char[0], certificates.generateCertificates(file).toArray(new Certificate[0]));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }
}
