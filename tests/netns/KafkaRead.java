// Reads a topic from its beginning until as many messages came as asked for, or the time is up: KEY<TAB>VALUE a line.
// usage: KafkaRead BROKER TOPIC COUNT SECONDS
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public class KafkaRead {
    public static void main(String[] arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        long end = System.nanoTime() + Long.parseLong(arguments[3]) * 1_000_000_000L;
        int left = Integer.parseInt(arguments[2]);
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            TopicPartition partition = new TopicPartition(arguments[1], 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            while (left > 0 && System.nanoTime() < end) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(record.key() + "\t" + record.value());
                    --left;
                }
            }
        }
        System.exit(0);
    }
}
