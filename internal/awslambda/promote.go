package awslambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/internal/elasticache"
)

// A WatchClient asks CloudWatch in one Region.
type WatchClient interface {
	// DescribeAlarms describes alarms of the Region by their names.
	DescribeAlarms(ctx context.Context, in *cloudwatch.DescribeAlarmsInput, f ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error)
	// GetMetricStatistics returns data points of a metric.
	GetMetricStatistics(ctx context.Context, in *cloudwatch.GetMetricStatisticsInput, f ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricStatisticsOutput, error)
}

// store keeps parameters.
type store interface {
	read(ctx context.Context, names ...string) (map[string]string, error)
	write(ctx context.Context, name, value string) error
}

// A Promoter is the function that promotes its Region when alarms say so.
type Promoter struct {
	config Config
	cache  elasticache.Client
	watch  WatchClient
	store  store
	out    io.Writer
}

// promoteBudget is how long a promoter may take before it promotes; the call itself has
// elasticache.AskTimeout.
const promoteBudget = 60 * time.Second

// Handle judges once, whatever the event says: it is woken by alarms and a schedule, and asks
// for everything itself. It fails only if it could not find out and coming again may help.
// Once promotion was asked for, it does not fail: the next minute looks what came of it.
func (p *Promoter) Handle(ctx context.Context, event []byte) error {
	report := p.config.Place.report(p.config.Namespace, time.Now())
	wake := ParseEvent(event, p.config.Place.Group, p.config.Place.Global)
	report.tell("hints", wake.Hints)
	report.count("EventForeign", wake.Foreign)
	report.count("EventMalformed", wake.Malformed)
	var err error
	if wake.Look {
		err = p.judge(ctx, report)
	}
	if err != nil {
		report.tell("error", err.Error())
	}
	report.count("PromoterRefused", yes(elasticache.Refused(err)))
	report.count("Failed", yes(err != nil))
	if elasticache.Refused(err) {
		err = nil
	}
	return errors.Join(err, report.write(p.out, time.Now()))
}

func (p *Promoter) judge(ctx context.Context, report *report) error {
	limit, cancel := context.WithTimeout(ctx, promoteBudget)
	defer cancel()
	s, err := p.see(limit)
	if err != nil {
		return err
	}
	j := Judge(s, p.config.Rules, p.config.Place)
	report.tell("rule", j.Rule)
	report.tell("reason", j.Reason)
	report.count("PromotionDry", yes(j.Dry))
	if j.Memory != nil {
		// Before anything is done: a promoter that forgets promotes twice.
		if err := elasticache.Again(limit, func(ctx context.Context) error { return p.store.write(ctx, p.config.Memory, j.Memory.String()) }); err != nil {
			return fmt.Errorf("remember: %w", err)
		}
	}
	if !j.Promote {
		report.count("Promoted", 0)
		return nil
	}
	p.promote(ctx, s, report)
	return nil
}

// see asks for all that is needed. What it cannot learn of alarms and lag is not known; of all
// else, it fails.
func (p *Promoter) see(ctx context.Context) (Sight, error) {
	c := p.config
	s := Sight{Now: time.Now()}
	var err error
	if s.View, err = elasticache.Look(ctx, p.cache, c.Place.Group); err != nil {
		return s, err
	}
	var params map[string]string
	err = elasticache.Again(ctx, func(ctx context.Context) (err error) {
		params, err = p.store.read(ctx, c.Switch, c.Memory)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read the switch: %w", err)
	}
	s.Switch = params[c.Switch]
	s.Memory = new(Memory) // of a Region that nobody has seen anything of
	if text, ok := params[c.Memory]; ok {
		m, err := ParseMemory(text)
		if err != nil {
			s.Memory = nil
		} else {
			s.Memory = &m
		}
	}
	if err := elasticache.Again(ctx, func(ctx context.Context) error { return p.alarms(ctx, &s) }); err != nil {
		return s, fmt.Errorf("describe alarms: %w", err)
	}
	if err := elasticache.Again(ctx, func(ctx context.Context) error { return p.lag(ctx, &s) }); err != nil {
		return s, fmt.Errorf("read the lag: %w", err)
	}
	return s, nil
}

func (p *Promoter) alarms(ctx context.Context, s *Sight) error {
	most := int32(mostAlarms)
	out, err := p.watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{
		AlarmNames: p.config.Rules.Alarms, MaxRecords: &most,
		AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm, types.AlarmTypeCompositeAlarm},
	})
	if err != nil {
		return err
	}
	s.Alarms = nil
	for i := range out.MetricAlarms {
		a := &out.MetricAlarms[i]
		s.Alarms = append(s.Alarms, Alarm{aws.ToString(a.AlarmName), string(a.StateValue), since(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)})
	}
	for i := range out.CompositeAlarms {
		a := &out.CompositeAlarms[i]
		s.Alarms = append(s.Alarms, Alarm{aws.ToString(a.AlarmName), string(a.StateValue), since(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)})
	}
	return nil
}

// since returns when an alarm got into its state: what answers leave out is no later than when it was
// last looked at, which makes the promoter more patient, and not blind.
func since(transitioned, updated *time.Time) time.Time {
	if transitioned == nil {
		return moment(updated)
	}
	return *transitioned
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// lag asks for the worst of each minute, and keeps the latest minute's. The metric is reported
// by the secondary, in its own Region.
func (p *Promoter) lag(ctx context.Context, s *Sight) error {
	namespace, name, minute := "AWS/ElastiCache", "GlobalDatastoreReplicationLag", int32(60)
	cluster, node := "CacheClusterId", "CacheNodeId"
	from := s.Now.Add(-p.config.Rules.LagAge)
	in := &cloudwatch.GetMetricStatisticsInput{
		Namespace: &namespace, MetricName: &name, Period: &minute, StartTime: &from, EndTime: &s.Now,
		Statistics: []types.Statistic{types.StatisticMaximum},
		Dimensions: []types.Dimension{{Name: &cluster, Value: &p.config.CacheCluster}},
	}
	if p.config.CacheNode != "" {
		in.Dimensions = append(in.Dimensions, types.Dimension{Name: &node, Value: &p.config.CacheNode})
	}
	out, err := p.watch.GetMetricStatistics(ctx, in)
	if err != nil {
		return err
	}
	s.Lag = nil
	for _, d := range out.Datapoints {
		if at := moment(d.Timestamp); d.Maximum != nil && *d.Maximum >= 0 && (s.Lag == nil || at.After(s.Lag.At)) {
			s.Lag = &Lag{Behind: time.Duration(*d.Maximum * float64(time.Second)), At: at}
		}
	}
	return nil
}

// promote asks ElastiCache, in this Region, to make its group the primary. Of promotions at the
// same time one wins. If ElastiCache says no, nothing was done, and the cooldown is taken
// back; if it says nothing, it stays.
func (p *Promoter) promote(ctx context.Context, s Sight, report *report) {
	place := p.config.Place
	once, cancel := context.WithTimeout(ctx, elasticache.AskTimeout)
	defer cancel()
	_, err := p.cache.FailoverGlobalReplicationGroup(once, &sdk.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &place.Global, PrimaryRegion: &place.Region, PrimaryReplicationGroupId: &place.Group,
	})
	report.count("Promoted", yes(err == nil))
	report.count("PromotionFailed", yes(err != nil))
	if err == nil {
		return
	}
	report.tell("promotion", err.Error())
	if elasticache.Unfit(err) || elasticache.Refused(err) {
		back := *s.Memory
		back.Role = "SECONDARY"
		if err := elasticache.Again(ctx, func(ctx context.Context) error { return p.store.write(ctx, p.config.Memory, back.String()) }); err != nil {
			report.tell("memory", err.Error())
		}
	}
}
