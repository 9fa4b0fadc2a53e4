// The program of tests/clients/README.md for franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"shuniu/clients/shared"
)

var compressions = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func client(a *shared.Arguments, more ...kgo.Opt) *kgo.Client {
	options := append([]kgo.Opt{kgo.SeedBrokers(a.Bootstrap), kgo.ClientID(a.ClientID), kgo.DialTLSConfig(a.TLS)}, more...)
	if os.Getenv("CLIENT_DEBUG") != "" {
		options = append(options, kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelDebug, nil)))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		shared.Die(err)
	}
	return client
}

func publish(a *shared.Arguments) {
	client := client(a, kgo.ProducerBatchCompression(compressions[a.Compression]))
	defer client.Close()
	for _, record := range a.ReadRecords() {
		value, err := a.Frame(record.Row)
		if err != nil {
			shared.Die(err)
		}
		message := &kgo.Record{Topic: a.Topic, Key: []byte(record.Key), Value: value}
		for name, text := range record.Headers {
			message.Headers = append(message.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
		}
		sent, err := client.ProduceSync(context.Background(), message).First()
		if err != nil {
			shared.Say("refused", map[string]any{"key": record.Key, "error": err.Error()})
			continue
		}
		shared.Say("sent", map[string]any{"key": record.Key, "partition": sent.Partition, "offset": sent.Offset})
	}
}

// poll prints what arrives until standard input ends.
func poll(a *shared.Arguments, client *kgo.Client, after func(context.Context) error) {
	running, cancel := context.WithCancel(context.Background())
	go func() { <-shared.Stopped(); cancel() }()
	for {
		fetches := client.PollFetches(running)
		if running.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) { shared.SayError(err) })
		fetches.EachRecord(func(r *kgo.Record) { a.SayRecord(r.Partition, r.Offset, r.Key, r.Value) })
		if err := after(running); err != nil && !errors.Is(err, context.Canceled) {
			shared.SayError(err)
		}
	}
}

func read(a *shared.Arguments) {
	isolation := kgo.ReadCommitted()
	if a.Isolation == "uncommitted" {
		isolation = kgo.ReadUncommitted()
	}
	from := kgo.NewOffset().AtStart()
	if a.FromTime >= 0 {
		from = kgo.NewOffset().AfterMilli(a.FromTime)
	}
	client := client(a, kgo.ConsumeTopics(a.Topic), kgo.FetchIsolationLevel(isolation), kgo.ConsumeResetOffset(from))
	defer client.Close()
	shared.Say("started", nil)
	poll(a, client, func(context.Context) error { return nil })
}

func group(a *shared.Arguments) {
	balancers := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if a.Protocol == "consumer" {
		balancers = []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()}
	}
	client := client(a, append(balancers, kgo.ConsumeTopics(a.Topic), kgo.ConsumerGroup(a.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ ctx, _ *kgo.Client, partitions map[string][]int32) {
			shared.Say("assigned", map[string]any{"partitions": partitions[a.Topic]})
		}),
		kgo.OnPartitionsRevoked(func(_ ctx, _ *kgo.Client, partitions map[string][]int32) {
			shared.Say("revoked", map[string]any{"partitions": partitions[a.Topic]})
		}))...)
	defer client.Close()
	poll(a, client, client.CommitUncommittedOffsets)
}

type ctx = context.Context

func main() {
	a := shared.Parse("franz-go", "github.com/twmb/franz-go")
	switch a.Command {
	case "publish":
		publish(a)
	case "read":
		read(a)
	case "group":
		group(a)
	default:
		shared.Die(fmt.Errorf("no such command: %s", a.Command))
	}
}
