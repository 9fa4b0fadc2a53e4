import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

import io.kroxylicious.proxy.KafkaProxy;
import io.kroxylicious.proxy.config.ConfigParser;
import io.kroxylicious.proxy.internal.config.Features;

/** Kroxylicious with a configuration file. */
public final class Measured {
    public static void main(String[] arguments) throws Exception {
        ConfigParser parser = new ConfigParser();
        try (InputStream file = Files.newInputStream(Path.of(arguments[0]));
                KafkaProxy proxy =
                        new KafkaProxy(parser, parser.parseConfiguration(file), Features.defaultFeatures())) {
            proxy.startup();
            proxy.block();
        }
    }
}
