// What a dashboard of ours is, by Grafana's own published types. JSON has no enums: their values stand for them, and only those.
import type { AnnotationQuery, Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import type { Options as AnnotationsListOptions } from '@grafana/schema/dist/esm/raw/composable/annotationslist/panelcfg/x/AnnotationsListPanelCfg_types.gen';
import type { FieldConfig as HeatmapField, Options as HeatmapOptions } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as LogsOptions } from '@grafana/schema/dist/esm/raw/composable/logs/panelcfg/x/LogsPanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as TableField, Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TextOptions } from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type { FieldConfig as TimeSeriesField, Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// An enum's values as JSON has them; everything else as it is.
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? string extends T ? string : `${T}`
    : T extends number
      ? number extends T ? number : `${T}` extends `${infer N extends number}` ? N : never
      : T extends boolean | null | undefined
        ? T
        : T extends (infer U)[]
          ? Plain<U>[]
          : { [K in keyof T]: Plain<T[K]> };

// Queries are of the data sources' plugins, which publish no types.
interface Source { type: string; uid: string }
interface PrometheusQuery { datasource: Source; refId: string; expr: string; legendFormat: string; editorMode: 'code'; exemplar: boolean; instant: boolean; range: boolean; format?: 'table' | 'heatmap' }
interface LokiQuery { datasource: Source; refId: string; expr: string; queryType: 'range'; editorMode: 'code'; legendFormat?: string; maxLines?: number; direction?: 'backward' }
interface TempoQuery { datasource: Source; refId: string; query: string; queryType: 'traceql'; tableType: 'traces'; limit: number }
type Query = PrometheusQuery | LokiQuery | TempoQuery;

interface DataLink { title: string; url: string; targetBlank: boolean }
type Fields<Custom> = Omit<Plain<FieldConfigSource>, 'defaults'> & {
  defaults: Omit<Plain<FieldConfig>, 'custom' | 'links'> & { custom?: Partial<Plain<Custom>>; links?: DataLink[] };
};
type PanelOf<Kind extends string, Options, Custom> = Omit<Plain<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'id' | 'gridPos' | 'title' | 'description'> & {
  type: Kind;
  id: number;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Plain<Options>;
  fieldConfig?: Fields<Custom>;
  targets: Query[];
};
type AnyPanel =
  | PanelOf<'annolist', AnnotationsListOptions, object>
  | PanelOf<'heatmap', HeatmapOptions, HeatmapField>
  | PanelOf<'logs', LogsOptions, object>
  | PanelOf<'stat', Partial<StatOptions>, object>
  | PanelOf<'table', TableOptions, TableField>
  | PanelOf<'text', TextOptions, object>
  | PanelOf<'timeseries', TimeSeriesOptions, TimeSeriesField>
  | (Omit<Plain<RowPanel>, 'panels'> & { panels: [] });

// What Prometheus' plugin adds to an annotation.
type Annotation = Omit<Plain<AnnotationQuery>, 'target'> & {
  target?: Plain<AnnotationQuery>['target'] | { expr: string; refId: string };
  tagKeys?: string;
  titleFormat?: string;
  textFormat?: string;
};

export type DashboardJson = Omit<Plain<Dashboard>, 'panels' | 'annotations' | 'id'> & {
  id: null;
  annotations: { list: Annotation[] };
  panels: AnyPanel[];
};
