package awsdrill

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	watch "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/roam-sessions/roam/internal/awslambda"
)

// The promoter's kill switch and its memory, and its alarms: of independent signals, as it wants them.
const (
	switchName  = "/session/promoter/switch"
	memoryName  = "/session/promoter/memory"
	writesFail  = "writes-fail"
	nothingDone = "no-writes"
)

// makePromoter puts the promoter into a Region that is to take over by itself, with what wakes it.
func (w *world) makePromoter(ctx context.Context, region string) error {
	topics := sns.New(sns.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("session-alarms")})
	if err != nil {
		return err
	}
	function, err := w.install(region, "promoter", map[string]string{
		"ROAM_FUNCTION": awslambda.Promote, "ROAM_SWITCH": switchName, "ROAM_MEMORY": memoryName,
		"ROAM_ALARMS": writesFail + "," + nothingDone, "ROAM_NEED": "2", "ROAM_PATIENCE": "0s",
	})
	if err != nil {
		return err
	}
	w.promoters[region] = function
	if err := w.cloud.PutParameter(region, switchName, "on"); err != nil {
		return err
	}
	if _, err := topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("lambda"), Endpoint: &function}); err != nil {
		return err
	}
	alarms := cloudwatch.New(cloudwatch.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
	for _, a := range []cloudwatch.PutMetricAlarmInput{
		{
			AlarmName: aws.String(writesFail), MetricName: aws.String("WriteErrors"), ComparisonOperator: watch.ComparisonOperatorGreaterThanOrEqualToThreshold,
			TreatMissingData: aws.String("notBreaching"),
		},
		{
			AlarmName: aws.String(nothingDone), MetricName: aws.String("Writes"), ComparisonOperator: watch.ComparisonOperatorLessThanThreshold,
			TreatMissingData: aws.String("breaching"),
		},
	} {
		a.Namespace, a.Statistic, a.Threshold, a.Period, a.EvaluationPeriods = aws.String(namespace), watch.StatisticSum, aws.Float64(1), aws.Int32(60), aws.Int32(2)
		a.Dimensions, a.AlarmActions = []watch.Dimension{{Name: aws.String("Region"), Value: &region}}, []string{*topic.TopicArn}
		if _, err := alarms.PutMetricAlarm(ctx, &a); err != nil {
			return err
		}
	}
	return w.cloud.Schedule(function, w.config.Minute)
}

// report has the shops of a Region tell how their writes went, and ElastiCache how far behind it is, until ctx
// ends.
func (w *world) report(ctx context.Context, region string) {
	ticks := time.NewTicker(w.config.Minute / 4)
	defer ticks.Stop()
	before := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		wrote, failed := 0, 0
		for _, s := range w.stands {
			if s.region == region {
				n, _, err := s.wrote()
				wrote += n
				if err != nil {
					failed++
				}
			}
		}
		for name, value := range map[string]float64{"Writes": float64(wrote - before), "WriteErrors": float64(failed)} {
			_ = w.cloud.PutMetric(region, namespace, name, value, "Region", region) // the Region is there
		}
		if w.dark.Load() == nil {
			_ = w.cloud.PutMetric(region, "AWS/ElastiCache", "GlobalDatastoreReplicationLag", 0.1, "CacheClusterId", groupOf(region)+"-001")
		}
		before = wrote
	}
}

// promoted reports whether the promoter of a Region has said, since a line of its log, that it asked for
// the promotion.
func (w *world) promoted(region string, after int) bool {
	log := w.cloud.FunctionLog(w.promoters[region])
	for _, line := range log[min(after, len(log)):] {
		if strings.Contains(line, `"Promoted":1`) {
			return true
		}
	}
	return false
}
