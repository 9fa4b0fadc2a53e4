import java.util.concurrent.CompletionStage;

import io.kroxylicious.proxy.filter.FetchResponseFilter;
import io.kroxylicious.proxy.filter.FilterContext;
import io.kroxylicious.proxy.filter.FilterFactory;
import io.kroxylicious.proxy.filter.FilterFactoryContext;
import io.kroxylicious.proxy.filter.ResponseFilterResult;
import io.kroxylicious.proxy.plugin.Plugin;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/**
 * The least that a filter does which changes records: each batch of a fetch is decompressed, its records are walked, and it is
 * built anew in its own codec. No record is looked into or changed.
 */
@Plugin(configType = Void.class)
public final class RebuildRecords implements FilterFactory<Void, Void> {
    @Override
    public Void initialize(FilterFactoryContext context, Void config) {
        return null;
    }

    @Override
    public Rebuilding createFilter(FilterFactoryContext context, Void initialized) {
        return new Rebuilding();
    }

    private static final class Rebuilding implements FetchResponseFilter {
        @Override
        public CompletionStage<ResponseFilterResult> onFetchResponse(
                short version, ResponseHeaderData header, FetchResponseData response, FilterContext context) {
            for (FetchResponseData.FetchableTopicResponse topic : response.responses()) {
                for (FetchResponseData.PartitionData partition : topic.partitions()) {
                    if (partition.records() instanceof MemoryRecords records && records.sizeInBytes() > 0) {
                        partition.setRecords(rebuilt(records, context));
                    }
                }
            }
            return context.forwardResponse(header, response);
        }

        private static MemoryRecords rebuilt(MemoryRecords records, FilterContext context) {
            ByteBufferOutputStream out = context.createByteBufferOutputStream(records.sizeInBytes());
            for (MutableRecordBatch batch : records.batches()) {
                batch.ensureValid();
                MemoryRecordsBuilder builder = new MemoryRecordsBuilder(
                        out, batch.magic(), Compression.of(batch.compressionType()).build(), batch.timestampType(),
                        batch.baseOffset(), batch.maxTimestamp(), batch.producerId(), batch.producerEpoch(),
                        batch.baseSequence(), batch.isTransactional(), batch.isControlBatch(),
                        batch.partitionLeaderEpoch(), Integer.MAX_VALUE);
                for (Record each : batch) {
                    builder.appendWithOffset(each.offset(), each.timestamp(), each.key(), each.value(), each.headers());
                }
                builder.overrideLastOffset(batch.lastOffset());
                builder.build();
            }
            out.buffer().flip();
            return MemoryRecords.readableRecords(out.buffer());
        }
    }
}
